//! Random calls and events, the same for a Krarup node and for an Erlang node of the release in its
//! place: the same answers, the same news, the same view of the cluster after each step.
//!
//! What takes part and how it is compared is in `src/membership`; the functions and their arguments
//! are in `src/membership/functions.rs`, which also has what is never called. A difference that is
//! meant to be is one of `EXCEPTIONS`, with the page that says so.
//!
//! `KRARUP_TEST_MEMBERSHIP_SEED` runs one seed, `KRARUP_TEST_MEMBERSHIP_SEEDS` says how many others
//! are run beside those of every time. They are others in every run. A failure shows the steps up to
//! it and the command that runs its seed again.

use std::time::{SystemTime, UNIX_EPOCH};

use krarup_tests::membership::{Exception, Worlds};
use krarup_tests::{Release, for_each_release};

for_each_release!(a_random_life_is_that_of_an_erlang_node);

/// Seeds that run every time. All of them notice a `nodedown` that is told once instead of twice, and
/// two of them a subscription that is taken back once instead of as a whole.
const SEEDS: &[u64] = &[1, 4, 11];
/// Steps of each.
const STEPS: usize = 120;

/// Where a Krarup node is not as OTP.
const EXCEPTIONS: &[Exception] = &[
    Exception {
        is: |call, otp, ours| {
            let own = format!("[{{{},{},{}}}]", call.module, call.function, call.arguments.len());
            ours.contains(&own) && without_frame(otp) == ours.replacen(&own, "", 1)
        },
        why: "services.md: a function that fails has itself at the top of the stack trace",
    },
    Exception {
        is: |call, otp, ours| {
            let report = "{{already_started,a_pid},{child,";
            call.function == "start"
                && ours.ends_with("{error,{already_started,a_pid}}}")
                && otp.strip_prefix("{returned,{error,").is_some_and(|otp| otp.starts_with(report))
        },
        why: "life.md: reasons are without the report of OTP's supervisor",
    },
    Exception {
        is: |call, otp, ours| {
            call.function == "monitor_nodes"
                && ours.starts_with("{returned,{error,{invalid_options,[")
                && otp.starts_with(
                    "{returned,{error,{internal_error,{'EXIT',{function_clause,[{net_kernel,\
                     check_opt,",
                )
        },
        why: "membership.md: an improper list is a wrong option, where the check of OTP fails",
    },
];

/// Without the line of a stack trace: a module, a function and an arity.
fn without_frame(answer: &str) -> String {
    match (answer.rfind("[{"), answer.rfind("}]")) {
        (Some(from), Some(to)) if from < to => {
            format!("{}{}", &answer[..from], &answer[to + 2..])
        }
        _ => answer.to_owned(),
    }
}

fn a_random_life_is_that_of_an_erlang_node(release: Release) {
    let mut worlds = Worlds::new(release, env!("CARGO_BIN_EXE_rust-node"));
    let mut failures = String::new();
    for seed in seeds() {
        if let Err(story) = worlds.run(seed, STEPS, EXCEPTIONS) {
            failures += &format!(
                "{story}KRARUP_TEST_MEMBERSHIP_SEED={seed} cargo test -p krarup-tests --test \
                 membership_random_otp r{release}\n"
            );
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn seeds() -> Vec<u64> {
    if let Some(seed) = number("KRARUP_TEST_MEMBERSHIP_SEED") {
        return vec![seed];
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let first = since.as_millis() as u64;
    let others = number("KRARUP_TEST_MEMBERSHIP_SEEDS").unwrap_or(0);
    SEEDS.iter().copied().chain(first..first + others).collect()
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}
