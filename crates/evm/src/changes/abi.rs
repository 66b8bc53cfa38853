//! The functions and events of tokens that are read here.
#![allow(missing_docs, unreachable_pub)]

use alloy_sol_types::sol;

sol! {
    function balanceOf(address account) returns (uint256);
    function totalSupply() returns (uint256);
    function allowance(address owner, address spender) returns (uint256);
    function ownerOf(uint256 id) returns (address);
    function getApproved(uint256 id) returns (address);
    function isApprovedForAll(address owner, address operator) returns (bool);
    function owner() returns (address);

    event Transfer(address indexed from, address indexed to, uint256 amount);
    event Approval(address indexed owner, address indexed spender, uint256 amount);
    event ApprovalForAll(address indexed owner, address indexed operator, bool approved);
    event TransferSingle(address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value);
    event TransferBatch(address indexed operator, address indexed from, address indexed to, uint256[] ids, uint256[] values);
    event Deposit(address indexed account, uint256 amount);
    event Withdrawal(address indexed account, uint256 amount);
}

/// ERC-1155 has another `balanceOf`.
pub(super) mod multi {
    alloy_sol_types::sol! {
        function balanceOf(address account, uint256 id) returns (uint256);
    }
}

/// Permit2 keeps allowances with an amount and an end.
pub(super) mod permit2 {
    alloy_sol_types::sol! {
        function allowance(address owner, address token, address spender)
            returns (uint160 amount, uint48 expiration, uint48 nonce);

        event Approval(address indexed owner, address indexed token, address indexed spender, uint160 amount, uint48 expiration);
        event Permit(address indexed owner, address indexed token, address indexed spender, uint160 amount, uint48 expiration, uint48 nonce);
        event Lockdown(address indexed owner, address token, address spender);
    }
}
