//! Counters of the API in Prometheus' text form, behind those of the node.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the histogram's buckets, in seconds.
const BOUNDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

#[derive(Default)]
pub(crate) struct Meters {
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    times: [AtomicU64; BOUNDS.len()],
    time_us: AtomicU64,
    answered: AtomicU64,
    pub(crate) connections: Gauge,
}

/// A number that goes up and down.
#[derive(Default)]
pub(crate) struct Gauge(AtomicI64);

/// Counts one up while it lives.
pub(crate) struct Held<'a>(&'a Gauge);

impl Gauge {
    pub(crate) fn hold(&self) -> Held<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self)
    }

    pub(crate) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Meters {
    /// `route` is a pattern of the table, so that no client can make up series.
    pub(crate) fn answered(&self, route: &str, status: u16, time: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let count = requests.entry((route.to_owned(), status)).or_default();
        *count = count.saturating_add(1);
        drop(requests);
        for (bound, counter) in BOUNDS.iter().zip(&self.times) {
            if time.as_secs_f64() <= *bound {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.time_us.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// The text, appended to the node's own.
    pub(crate) fn text(&self, node: &str, streams: usize, voting: bool) -> String {
        let mut text = String::from(node.trim_end().trim_end_matches("# EOF"));
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, streams, voting);
        text
    }

    fn write(&self, out: &mut String, streams: usize, voting: bool) -> std::fmt::Result {
        writeln!(out, "# HELP surety_api_requests_total Requests that were answered.")?;
        writeln!(out, "# TYPE surety_api_requests_total counter")?;
        for ((route, status), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            writeln!(out, "surety_api_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}")?;
        }
        writeln!(out, "# HELP surety_api_seconds Time until an answer began.")?;
        writeln!(out, "# TYPE surety_api_seconds histogram")?;
        for (bound, counter) in BOUNDS.iter().zip(&self.times) {
            writeln!(out, "surety_api_seconds_bucket{{le=\"{bound}\"}} {}", counter.load(Ordering::Relaxed))?;
        }
        let answered = self.answered.load(Ordering::Relaxed);
        let seconds = Duration::from_micros(self.time_us.load(Ordering::Relaxed)).as_secs_f64();
        writeln!(out, "surety_api_seconds_bucket{{le=\"+Inf\"}} {answered}")?;
        writeln!(out, "surety_api_seconds_sum {seconds}\nsurety_api_seconds_count {answered}")?;
        let connections = self.connections.get().to_string();
        for (name, help, value) in [
            ("surety_api_connections", "Open connections.", connections),
            ("surety_api_streams", "Open event streams and long polls.", streams.to_string()),
            ("surety_voting", "1 if this node's seat votes, 0 if it only follows.", u8::from(voting).to_string()),
        ] {
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_s_end_mark_does_not_cut_the_api_s_counters_off() {
        let meters = Meters::default();
        meters.answered("/health", 200, Duration::from_millis(2));
        let text = meters.text("height 5\n# EOF\n", 2, true);
        assert!(text.starts_with("height 5\n# HELP"), "{text}");
        assert!(!text.contains("EOF"));
        assert!(text.contains("surety_api_requests_total{route=\"/health\",status=\"200\"} 1\n"));
        assert!(
            text.contains("surety_api_seconds_bucket{le=\"0.001\"} 0\nsurety_api_seconds_bucket{le=\"0.005\"} 1\n")
        );
    }
}
