//! Times the compatible mode as `tests/js/phishing.cjs time` times the original: hosts as JSON strings on stdin, one a
//! line; prints `{checks, nanoseconds}` of the checks alone. The argument is the configuration file.

use std::io::Read;
use std::time::Instant;

use surety_security::phishing::compat::{Configs, Detector};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: time_phishing CONFIG < HOSTS")?;
    let detector = Detector::new(Configs::from_json(&std::fs::read(path)?)?);
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    let hosts: Vec<String> = input.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let warm = hosts.iter().take(200).filter(|host| detector.check(host).is_phishing()).count();
    let start = Instant::now();
    let hits = hosts.iter().filter(|host| detector.check(host).is_phishing()).count();
    let nanoseconds = start.elapsed().as_nanos();
    // The counts keep the checks from being left out.
    eprintln!("{hits} hits, {warm} while warming up");
    println!("{{\"checks\":{},\"nanoseconds\":{nanoseconds}}}", hosts.len());
    Ok(())
}
