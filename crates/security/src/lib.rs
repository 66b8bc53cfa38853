//! Answer security questions from lists that anyone can check.
