//! The gateway before a node that records everything that reaches it, with a check that refuses one recipient.

mod board;
mod decoders;
mod encodings;
mod http2;
mod leaving;
mod methods;
mod node;
mod phases;
mod policy;
mod reads;
mod records;
mod remote;
mod screens;
mod signing;
mod tls;
mod transactions;
mod upstreams;
mod websocket;
mod world;
