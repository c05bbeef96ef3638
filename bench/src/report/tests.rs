//! Results from made-up measurements, in all their forms.

use std::time::Duration;

use super::*;
use crate::cli::{Action, Command, Options, Seconds, Size};
use crate::peer::System;
use crate::run::Bench;

fn options() -> Options {
    use clap::Parser;
    match Command::parse_from(["krarup-bench", "connect", "--pin", "none"]).action {
        Action::Connect(plain) => plain.options,
        other => panic!("expected connect, came {other:?}"),
    }
}

fn head() -> Head {
    let options = options();
    let bench = Bench::new(&options).expect("no core is asked for");
    Head::collect(&options, &bench, Vec::new())
}

fn case(work: Work, system: System, size: usize) -> Case {
    let second = Seconds(Duration::from_secs(1));
    Case { size: Size(size), ..Case::new(work, Peer::of(system), second, second) }
}

fn rtt(system: System, repetition: u32, nanoseconds: u64) -> Measurement {
    let figures = Figures::latencies(histogram::from_samples(&[(nanoseconds, 100)]));
    Measurement { case: case(Work::Rtt, system, 16), repetition, figures }
}

fn stream(system: System, repetition: u32, rate: f64) -> Measurement {
    let figures =
        Figures::metrics(vec![(Metric::PerSecond, rate), (Metric::BytesPerSecond, rate * 1024.0)]);
    Measurement { case: case(Work::Stream, system, 1024), repetition, figures }
}

fn report(work: Work, measurements: Vec<Measurement>) -> Report {
    let mut cases: Vec<Case> = measurements.iter().map(|measurement| measurement.case).collect();
    cases.dedup();
    let mut once: Vec<Case> = Vec::new();
    for case in cases {
        if !once.contains(&case) {
            once.push(case);
        }
    }
    Report::new(head(), work, &once, measurements, Vec::new())
}

fn rtt_report() -> Report {
    report(
        Work::Rtt,
        vec![
            rtt(System::RawSpin, 0, 1000),
            rtt(System::Krarup, 0, 3000),
            rtt(System::RawSpin, 1, 1000),
            rtt(System::Krarup, 1, 1500),
            rtt(System::RawSpin, 2, 9000),
            rtt(System::Krarup, 2, 2000),
        ],
    )
}

#[test]
fn rows_hold_medians_and_ratios_to_the_floor() {
    let report = rtt_report();
    assert_eq!(report.rows.len(), 2);
    let krarup = &report.rows[1];
    assert_eq!(krarup.repetitions, 3);
    assert_eq!(krarup.ratio(Peer::of(System::Otp)), None);
    let ratio = krarup.ratio(Peer::of(System::RawSpin)).expect("floor");
    assert!((ratio - 2.0).abs() < 0.01, "{krarup:?}");
    assert_eq!(report.rows[0].ratio(Peer::of(System::RawSpin)), None);
    let p50 = krarup.get(Figure::Quantile(0)).expect("latencies");
    assert!((2000.0..2010.0).contains(&p50), "{p50}");
    let longest = krarup.get(Figure::Longest).expect("latencies");
    assert!((3000.0..3010.0).contains(&longest), "{longest}");
    assert_eq!(krarup.samples, 300);
}

#[test]
fn streams_compare_rates() {
    let report = report(
        Work::Stream,
        vec![stream(System::RawSpin, 0, 2000.0), stream(System::Otp, 0, 500.0)],
    );
    let otp = &report.rows[1];
    assert_eq!(otp.headline(), Some(500.0));
    assert_eq!(otp.spread(), Some((500.0, 500.0)));
    assert_eq!(otp.ratio(Peer::of(System::RawSpin)), Some(0.25));
    let table = table::render(&report);
    assert!(table.contains("500") && table.contains("0.25"), "{table}");
    let bars = plot::render(&report.head, Work::Stream, &report.rows).expect("svg");
    assert!(bars.len() == 1 && bars[0].1.contains("raw-spin 1 KiB"), "{bars:?}");
    let csv = csv::render(&report);
    assert!(csv.contains("stream,otp,1024,1,1 KiB,median,500.0,512000.0,0.2500,\n"), "{csv}");
}

#[test]
fn every_form_is_written() {
    let report = rtt_report();
    let json: serde_json::Value =
        serde_json::from_str(&json::render(&report).expect("json")).expect("parse");
    assert_eq!(json["results"][1]["peer"], "krarup");
    assert_eq!(json["results"][1]["samples"], 300);
    assert!(json["results"][1]["ratios"]["raw-spin"].is_number(), "{json}");
    assert_eq!(json["repetitions"].as_array().map(Vec::len), Some(6));
    let csv = csv::render(&report);
    let lines: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(lines, [lines[0]; 9], "{csv}");
    let plots = plot::render(&report.head, Work::Rtt, &report.rows).expect("svg");
    let (suffix, svg) = &plots[0];
    assert!(suffix.is_empty() && svg.starts_with("<svg") && svg.contains("</svg>"), "{svg}");
    assert!(svg.contains("krarup") && svg.contains("1 in 100"), "one size shows quantiles: {svg}");
    let log = log::render(&report.head, &report.measurements).expect("log").expect("latencies");
    let log = String::from_utf8(log).expect("text");
    assert!(log.contains("Tag=rtt-krarup-16-3,"), "{log}");
}

#[test]
fn several_sizes_make_lines() {
    let at = |system, size, rate| {
        let figures =
            Figures::metrics(vec![(Metric::PerSecond, rate), (Metric::BytesPerSecond, rate)]);
        Measurement { case: case(Work::Stream, system, size), repetition: 0, figures }
    };
    let measurements = vec![
        at(System::RawSpin, 16, 4e6),
        at(System::Otp, 16, 1e6),
        at(System::RawSpin, 1024, 3e6),
        at(System::Otp, 1024, 2e6),
    ];
    let report = report(Work::Stream, measurements);
    let plots = plot::render(&report.head, Work::Stream, &report.rows).expect("svg");
    let suffixes: Vec<&str> = plots.iter().map(|(suffix, _)| *suffix).collect();
    assert_eq!(suffixes, ["", "-messages", "-cpu"]);
    assert!(plots[0].1.contains("1 KiB") && plots[0].1.contains("MB/s"), "{}", plots[0].1);
}

#[test]
fn a_plot_without_an_axis_shows_quantiles() {
    let latencies = Figures::latencies(histogram::from_samples(&[(300_000, 10), (900_000, 1)]));
    let case = case(Work::Connect, System::Krarup, 16);
    let report =
        report(Work::Connect, vec![Measurement { case, repetition: 0, figures: latencies }]);
    let plots = plot::render(&report.head, Work::Connect, &report.rows).expect("svg");
    assert_eq!(plots.len(), 1);
    assert!(plots[0].1.contains("1 in 100") && plots[0].1.contains("krarup"), "{plots:?}");
}

#[test]
fn a_report_without_results_is_still_whole() {
    let failure = Failure { case: case(Work::Rtt, System::Otp, 16), reason: "gone".into() };
    let report = Report::new(head(), Work::Rtt, &[failure.case], Vec::new(), vec![failure]);
    assert!(table::render(&report).contains("16 B otp: failed"));
    assert_eq!(plot::render(&report.head, Work::Rtt, &report.rows).expect("svg").len(), 1);
    assert!(json::render(&report).expect("json").contains("gone"));
}

#[test]
fn medians_of_odd_and_even_counts() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    assert_eq!(median(Vec::new()), 0.0);
}
