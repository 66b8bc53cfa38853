//! Ids, amounts, fixed point, codec, keys, answers, Merkle proofs and the call protocol.
