//! A body or a frame: one request or a batch, each element on its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{FutureExt as _, StreamExt as _, stream};

use super::core::{Client, Core};
use super::jsonrpc::{self, Answer, Message, Request, RpcError, code, write_reply};
use super::methods;
use super::request::{self, Advice, Replied};
use super::subject::Subject;

/// Reads of a batch that are under way at a time.
const AT_A_TIME: usize = 16;

/// What goes back.
#[derive(Debug, Default)]
pub(crate) struct Processed {
    /// JSON; empty where nothing is to be said.
    pub(crate) body: Vec<u8>,
    /// The worst verdict that did not stop anything.
    pub(crate) advice: Option<Advice>,
}

type Element<'a> = Result<Request<'a>, (String, RpcError)>;

/// Answers a body.
pub(crate) async fn process(core: &Core, client: &Client, body: &[u8]) -> Processed {
    let _under_way = UnderWay::begin(&core.in_flight);
    match jsonrpc::read(body, core.config.limits.batch) {
        Err(error) => {
            core.metrics.count("unreadable", "refused");
            let mut body = Vec::new();
            write_reply("null", &Answer::Error(error), &mut body);
            Processed { body, advice: None }
        }
        Ok(Message::One(element)) => one(core, client, element, &mut Vec::new()).await,
        Ok(Message::Batch(elements)) => batch(core, client, elements).await,
    }
}

/// Whether a body sends something: then its order counts.
pub(crate) fn sends(body: &[u8], most: usize) -> bool {
    match jsonrpc::read(body, most) {
        Ok(Message::One(element)) => is_send(&element),
        Ok(Message::Batch(elements)) => elements.iter().any(is_send),
        Err(_) => false,
    }
}

fn is_send(element: &Element<'_>) -> bool {
    element.as_ref().is_ok_and(|request| methods::find(&request.method).is_some_and(|method| method.class.sends()))
}

/// What is sent goes one after the other; the reads between run together.
async fn batch(core: &Core, client: &Client, elements: Vec<Element<'_>>) -> Processed {
    let mut earlier = Vec::new();
    let mut replies = Replies { most: core.config.limits.reply_bytes, ..Replies::default() };
    let mut reads = Vec::new();
    for element in elements {
        if is_send(&element) {
            run_reads(core, client, std::mem::take(&mut reads), &mut replies).await;
            let id = id_of(&element);
            let reply = one(core, client, element, &mut earlier).await;
            replies.add(id, reply);
        } else {
            reads.push(element);
        }
    }
    run_reads(core, client, reads, &mut replies).await;
    replies.finish()
}

async fn run_reads(core: &Core, client: &Client, elements: Vec<Element<'_>>, replies: &mut Replies) {
    let mut runs = Vec::with_capacity(elements.len());
    for element in elements {
        runs.push(read(core, client, element).boxed());
    }
    let mut done = stream::iter(runs).buffered(AT_A_TIME);
    while let Some((id, reply)) = done.next().await {
        replies.add(id, reply);
    }
}

async fn read(core: &Core, client: &Client, element: Element<'_>) -> (Option<String>, Processed) {
    let id = id_of(&element);
    (id, one(core, client, element, &mut Vec::new()).await)
}

fn id_of(element: &Element<'_>) -> Option<String> {
    match element {
        Ok(request) => request.id.map(str::to_owned),
        Err((id, _)) => Some(id.clone()),
    }
}

/// The replies of a batch, in its order.
#[derive(Debug, Default)]
struct Replies {
    processed: Processed,
    most: usize,
}

impl Replies {
    fn add(&mut self, id: Option<String>, reply: Processed) {
        let body = &mut self.processed.body;
        let Some(id) = id.filter(|_| !reply.body.is_empty()) else { return };
        body.push(if body.is_empty() { b'[' } else { b',' });
        if body.len().saturating_add(reply.body.len()) > self.most {
            write_reply(&id, &Answer::Error(RpcError::new(code::LIMIT, "the batch's replies are too long")), body);
        } else {
            body.extend_from_slice(&reply.body);
        }
        self.processed.advice = worse(self.processed.advice.take(), reply.advice);
    }

    fn finish(mut self) -> Processed {
        if !self.processed.body.is_empty() {
            self.processed.body.push(b']');
        }
        self.processed
    }
}

fn worse(one: Option<Advice>, other: Option<Advice>) -> Option<Advice> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.verdict > one.verdict { other } else { one }),
        (one, other) => one.or(other),
    }
}

async fn one(core: &Core, client: &Client, element: Element<'_>, earlier: &mut Vec<Arc<Subject>>) -> Processed {
    let mut body = Vec::new();
    let (id, replied) = match element {
        Err((id, error)) => {
            core.metrics.count("unreadable", "refused");
            (Some(id), Answer::Error(error).into())
        }
        Ok(request) => {
            let id = request.id.map(str::to_owned);
            (id, request::answer(core, client, request, earlier).await)
        }
    };
    let Replied { answer, advice } = replied;
    if let Some(id) = id {
        write_reply(&id, &answer, &mut body);
    }
    Processed { body, advice }
}

/// Counts a body that is being answered.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
