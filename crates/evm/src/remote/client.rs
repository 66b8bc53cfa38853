//! A JSON-RPC client for callers that block: requests run on a thread of their own, with a limit on time and on size.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::StateError;

/// One question: the method and its parameters.
pub(super) type Question = (&'static str, Value);

/// What a node answered to one question: a result, or an error in its own words.
pub(super) type Answer = Result<Value, String>;

type Reply = Result<Vec<Answer>, StateError>;

/// Asks a node. Clones share the connection pool and the thread, which ends with the last of them.
#[derive(Clone, Debug)]
pub(super) struct Client {
    jobs: UnboundedSender<Job>,
    timeout: Duration,
}

#[derive(Debug)]
struct Job {
    body: String,
    count: usize,
    timeout: Duration,
    reply: mpsc::SyncSender<Reply>,
}

impl Client {
    /// Starts the thread. `timeout` is for one request; `max_bytes` for one response.
    pub(super) fn start(url: &str, timeout: Duration, max_bytes: usize) -> Result<Self, StateError> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| StateError::Unavailable(error.to_string()))?;
        let url =
            reqwest::Url::parse(url).map_err(|error| StateError::Unavailable(format!("the node's URL: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StateError::Unavailable(error.to_string()))?;
        let (jobs, mut inbox) = unbounded_channel::<Job>();
        std::thread::Builder::new()
            .name("evm-remote".into())
            .spawn(move || {
                runtime.block_on(async {
                    while let Some(job) = inbox.recv().await {
                        tokio::spawn(serve(http.clone(), url.clone(), max_bytes, job));
                    }
                });
            })
            .map_err(|error| StateError::Unavailable(error.to_string()))?;
        Ok(Self { jobs, timeout })
    }

    /// Asks several questions in one request; the answers are in the same order.
    pub(super) fn ask(&self, questions: &[Question], deadline: Option<Instant>) -> Reply {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(self.timeout, |left| left.min(self.timeout));
        if timeout.is_zero() {
            return Err(StateError::Deadline);
        }
        let (reply, answer) = mpsc::sync_channel(1);
        let job = Job { body: body(questions), count: questions.len(), timeout, reply };
        self.jobs.send(job).map_err(|_| StateError::Unavailable("the client has ended".into()))?;
        // The thread keeps the time itself; the margin only guards against a thread that starves.
        let answer = answer.recv_timeout(timeout + Duration::from_secs(1));
        let reply = answer.unwrap_or(Err(StateError::Unavailable("the node did not answer in time".into())));
        match reply {
            Err(StateError::Unavailable(_)) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                Err(StateError::Deadline)
            }
            reply => reply,
        }
    }
}

fn body(questions: &[Question]) -> String {
    let one = |(id, (method, params)): (usize, &Question)| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    Value::Array(questions.iter().enumerate().map(one).collect()).to_string()
}

async fn serve(http: reqwest::Client, url: reqwest::Url, max_bytes: usize, job: Job) {
    let exchange = async {
        // Reads may be repeated: a connection that was kept open too long deserves a second try.
        match exchange(&http, &url, max_bytes, &job.body).await {
            Err(Failure::Cut(_)) => exchange(&http, &url, max_bytes, &job.body).await,
            result => result,
        }
    };
    let reply = match tokio::time::timeout(job.timeout, exchange).await {
        Ok(Ok(bytes)) => answers(&bytes, job.count),
        Ok(Err(Failure::Cut(reason) | Failure::Refused(reason))) => Err(StateError::Unavailable(reason)),
        Err(_) => Err(StateError::Unavailable("the node did not answer in time".into())),
    };
    // Whoever asked may be gone by now.
    let _ = job.reply.try_send(reply);
}

enum Failure {
    Cut(String),
    Refused(String),
}

async fn exchange(
    http: &reqwest::Client,
    url: &reqwest::Url,
    max_bytes: usize,
    body: &str,
) -> Result<Vec<u8>, Failure> {
    let cut = |error: reqwest::Error| Failure::Cut(error.without_url().to_string());
    let request = http.post(url.clone()).header("content-type", "application/json").body(body.to_owned());
    let mut response = request.send().await.map_err(cut)?;
    if !response.status().is_success() {
        return Err(Failure::Refused(format!("the node answered with status {}", response.status())));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(cut)? {
        if bytes.len() + chunk.len() > max_bytes {
            return Err(Failure::Refused(format!("the node answered more than {max_bytes} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Puts the answers in the order of the questions. Every one must be there once.
fn answers(bytes: &[u8], count: usize) -> Reply {
    let garbled = |reason: &str| StateError::Unavailable(format!("the node's answer is garbled: {reason}"));
    let response: Value = serde_json::from_slice(bytes).map_err(|error| garbled(&error.to_string()))?;
    let Value::Array(elements) = response else {
        let reason = response["error"]["message"].as_str().unwrap_or("not a batch");
        return Err(garbled(reason));
    };
    let mut answers: Vec<Option<Answer>> = vec![None; count];
    for mut element in elements {
        let id = element["id"].as_u64().and_then(|id| usize::try_from(id).ok());
        let place = id.and_then(|id| answers.get_mut(id)).ok_or_else(|| garbled("an unknown id"))?;
        let answer = match element.get("error") {
            Some(error) if !error.is_null() => {
                Err(error["message"].as_str().unwrap_or("an error without words").into())
            }
            _ => Ok(element["result"].take()),
        };
        if place.replace(answer).is_some() {
            return Err(garbled("an id twice"));
        }
    }
    answers.into_iter().collect::<Option<_>>().ok_or_else(|| garbled("an answer is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_put_in_order() {
        let bytes = br#"[{"id":1,"result":"b"},{"id":0,"error":{"code":1,"message":"no"}}]"#;
        assert_eq!(answers(bytes, 2), Ok(vec![Err("no".into()), Ok("b".into())]));
    }

    #[test]
    fn an_answer_that_is_missing_or_doubled_is_an_error() {
        assert!(answers(br#"[{"id":0,"result":1}]"#, 2).is_err());
        assert!(answers(br#"[{"id":0,"result":1},{"id":0,"result":1}]"#, 2).is_err());
        assert!(answers(br#"[{"id":7,"result":1}]"#, 1).is_err());
        assert!(answers(b"{\"error\":{\"message\":\"rate limit\"}}", 1).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_answers_or_an_error(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
            let _ = answers(&bytes, 2);
        }
    }
}
