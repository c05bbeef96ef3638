//! Records what the benchmark was built from: results without it cannot be compared.

use std::path::Path;
use std::process::Command;

/// Crates that are measured beside Krarup.
const RIVALS: [&str; 4] = ["eetf", "erl_dist", "edp_client", "erltf"];

fn main() {
    println!("cargo::rerun-if-env-changed=RUSTC");
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version =
        output(Command::new(compiler).arg("--version")).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=KRARUP_BENCH_RUSTC={version}");
    let profile = std::env::var("PROFILE").unwrap_or_else(|_| "unknown".into());
    println!("cargo::rustc-env=KRARUP_BENCH_PROFILE={profile}");
    println!("cargo::rustc-env=KRARUP_BENCH_COMMIT={}", commit());
    println!("cargo::rustc-env=KRARUP_BENCH_CRATES={}", rivals().join(","));
}

/// The commit that is checked out.
fn commit() -> String {
    let git = |arguments: &[&str]| output(Command::new("git").args(arguments));
    for path in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", path])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=10", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

/// Names and versions of the rivals, as the lock file has them. Of two versions, both.
fn rivals() -> Vec<String> {
    const LOCK: &str = "../Cargo.lock";
    println!("cargo::rerun-if-changed={LOCK}");
    let lock = std::fs::read_to_string(LOCK).unwrap_or_default();
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")))?;
        Some(line.trim_matches('"').to_owned())
    };
    let packages = lock.split("[[package]]").filter_map(|block| {
        let name = field(block, "name").filter(|name| RIVALS.contains(&name.as_str()))?;
        Some(format!("{name} {}", field(block, "version")?))
    });
    packages.collect()
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
