//! Results from made-up measurements, in all their forms.

use std::time::Duration;

use super::*;
use crate::cli::{Command, Options};
use crate::pin::Pinning;

fn head(work: Work) -> Head {
    use clap::Parser;
    let command = Command::parse_from(["krarup-bench", work.name()]);
    let options: Options = match command.action {
        crate::cli::Action::Rtt(options) | crate::cli::Action::Stream(options) => options,
        crate::cli::Action::Worker(_) => panic!("the command line names a measurement"),
    };
    Head::collect(work, &options, Pinning { client: None, server: None }, None, Vec::new())
}

fn rtt(peer: Peer, repetition: u32, nanoseconds: u64) -> Measurement {
    let figures = Figures::Rtt(Box::new(histogram::from_samples(&[(nanoseconds, 100)])));
    Measurement { peer, size: Size(16), repetition, figures }
}

fn stream(peer: Peer, repetition: u32, messages: u64) -> Measurement {
    let figures = Figures::Stream { messages, elapsed: Duration::from_secs(2) };
    Measurement { peer, size: Size(1024), repetition, figures }
}

fn rtt_report() -> Report {
    let measurements = vec![
        rtt(Peer::RawSpin, 0, 1000),
        rtt(Peer::Krarup, 0, 3000),
        rtt(Peer::RawSpin, 1, 1000),
        rtt(Peer::Krarup, 1, 1500),
        rtt(Peer::RawSpin, 2, 9000),
        rtt(Peer::Krarup, 2, 2000),
    ];
    Report::new(head(Work::Rtt), &Peer::ALL, &[Size(16)], measurements, Vec::new())
}

#[test]
fn rows_hold_medians_and_ratios_to_the_floor() {
    let report = rtt_report();
    assert_eq!(report.rows.len(), 2);
    let krarup = &report.rows[1];
    assert_eq!(krarup.repetitions, 3);
    assert_eq!(krarup.ratio_otp, None);
    assert!((krarup.ratio_spin.expect("floor") - 2.0).abs() < 0.01, "{krarup:?}");
    assert_eq!(report.rows[0].ratio_spin, None);
    match &krarup.result {
        Summary::Rtt { quantiles, max, count, .. } => {
            assert!((2000..2010).contains(&quantiles[0]), "{quantiles:?}");
            assert!((3000..3010).contains(max), "{max}");
            assert_eq!(*count, 300);
        }
        other => panic!("expected round trips, came {other:?}"),
    }
}

#[test]
fn streams_compare_rates() {
    let measurements = vec![stream(Peer::RawSpin, 0, 4000), stream(Peer::Otp, 0, 1000)];
    let report =
        Report::new(head(Work::Stream), &Peer::ALL, &[Size(1024)], measurements, Vec::new());
    let otp = &report.rows[1];
    assert_eq!(otp.result, Summary::Stream { rate: 500.0, range: (500.0, 500.0) });
    assert_eq!(otp.ratio_spin, Some(0.25));
    let table = table::render(&report);
    assert!(table.contains("500") && table.contains("0.25"), "{table}");
    assert!(csv::render(&report).contains("stream,otp,1024,median,500.0,512000,0.2500,,\n"));
}

#[test]
fn every_form_is_written() {
    let report = rtt_report();
    let json: serde_json::Value =
        serde_json::from_str(&json::render(&report).expect("json")).expect("parse");
    assert_eq!(json["results"][1]["peer"], "krarup");
    assert_eq!(json["results"][1]["round_trips"], 300);
    assert_eq!(json["repetitions"].as_array().map(Vec::len), Some(6));
    let lines: Vec<usize> =
        csv::render(&report).lines().map(|line| line.split(',').count()).collect();
    assert_eq!(lines, [13; 9]);
    let svg = svg::render(&report).expect("svg");
    assert!(svg.starts_with("<svg") && svg.contains("krarup p50") && svg.contains("</svg>"));
    let log = String::from_utf8(report.histogram_log().expect("log")).expect("text");
    assert!(log.contains("Tag=krarup-16-3,"), "{log}");
}

#[test]
fn a_report_without_results_is_still_whole() {
    let failure = Failure { peer: Peer::Otp, size: Size(16), reason: "gone".into() };
    let report = Report::new(head(Work::Rtt), &[Peer::Otp], &[Size(16)], Vec::new(), vec![failure]);
    assert!(table::render(&report).contains("16 B otp: failed"));
    assert!(svg::render(&report).expect("svg").contains("<svg"));
    assert!(json::render(&report).expect("json").contains("gone"));
}

#[test]
fn medians_of_odd_and_even_counts() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    assert_eq!(median(Vec::new()), 0.0);
}
