//! Answer security questions from lists that anyone can check.
pub mod phishing;
