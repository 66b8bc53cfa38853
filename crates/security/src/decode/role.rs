//! What a method does to its caller's assets and powers, as far as its signature fixes it.
//!
//! A role is read from arguments at fixed positions, so it belongs to one exact signature. It says what the call asks for;
//! whether the contract behind it obeys is for the simulation to tell.

/// The meaning of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Nothing that the rules look at.
    Plain,
    /// `approve(spender, amount)` and its likes on the token itself.
    Approve,
    /// ERC-6909 `approve(spender, id, amount)`.
    MultiApprove,
    /// Adds to an allowance.
    IncreaseAllowance,
    /// Takes from an allowance.
    DecreaseAllowance,
    /// `(operator, bool)`: everything of the caller, without an amount.
    ApproveAll,
    /// `authorizeOperator(operator)`.
    AuthorizeOperator,
    /// ERC-2612 `permit(owner, spender, value, deadline, …)`.
    Permit,
    /// DAI's `permit(holder, spender, nonce, expiry, allowed, …)`.
    DaiPermit,
    /// An NFT's `permit(spender, tokenId, deadline, …)`.
    NftPermit,
    /// Permit2 `approve(token, spender, amount, expiration)`.
    Permit2Approve,
    /// Permit2 `permit(owner, single, signature)`.
    Permit2Permit,
    /// Permit2 `permit(owner, batch, signature)`.
    Permit2PermitBatch,
    /// The universal router's Permit2 `(single, signature)` of the caller.
    RouterPermit,
    /// The universal router's Permit2 `(batch, signature)` of the caller.
    RouterPermitBatch,
    /// Permit2 `permitTransferFrom` and its witness form.
    Permit2TransferFrom,
    /// The batch forms of them.
    Permit2TransferFromBatch,
    /// Permit2 `transferFrom(from, to, amount, token)`.
    Permit2Move,
    /// Permit2 `transferFrom(details[])`.
    Permit2Moves,
    /// The universal router's `(token, recipient, amount)` out of the caller's Permit2 allowance.
    RouterPull,
    /// `transfer(to, amount)` of the caller's own.
    Transfer,
    /// `transferFrom(from, to, amount or id)`.
    TransferFrom,
    /// ERC-721 `safeTransferFrom(from, to, id, …)`.
    NftTransfer,
    /// ERC-1155 `safeTransferFrom(from, to, id, amount, …)`.
    MultiTransfer,
    /// ERC-6909 `transfer(to, id, amount)` of the caller's own.
    OwnMultiTransfer,
    /// ERC-1155 `safeBatchTransferFrom(from, to, ids, amounts, …)`.
    MultiTransferBatch,
    /// EIP-3009 `(from, to, value, …)`.
    AuthorizedTransfer,
    /// `(new owner)`.
    TransferOwnership,
    /// Gives up the ownership.
    RenounceOwnership,
    /// `(role, account)`.
    GrantRole,
    /// `(implementation, …)`.
    Upgrade,
    /// `(proxy, implementation, …)` through a proxy admin.
    UpgradeProxy,
    /// `(admin)`.
    ChangeAdmin,
    /// A new owner of a Safe, first argument.
    SafeOwner,
    /// A Safe's owner replaced: `(previous, old, new)`.
    SafeSwapOwner,
    /// A module, guard or fallback handler that may act for the account.
    SafeModule,
    /// ERC-7579 `installModule(type, module, data)`.
    InstallModule,
    /// Fixes a hash that may later be executed without a signature.
    ApproveHash,
    /// A name that draining contracts use for their payable entry.
    Claim,
    /// `multicall(bytes[])` on itself; the array is the first argument.
    SelfCalls,
    /// The same with one argument before the array.
    SelfCallsSecond,
    /// `(target, data)[]`.
    Aggregate,
    /// `(bool, (target, data)[])`.
    TryAggregate,
    /// `(target, allowFailure, data)[]`.
    Aggregate3,
    /// `(target, allowFailure, value, data)[]`.
    Aggregate3Value,
    /// `(target, value, data, …)` by an account.
    Execute,
    /// `(target, data)` by a manager of access.
    ExecutePlain,
    /// ERC-2771: a forwarded request `(from, to, value, gas, …, data)`.
    Forward,
    /// The same in a list.
    ForwardBatch,
    /// `(target[], data[])` by an account.
    ExecuteBatch,
    /// `(target[], value[], data[], …)` by an account.
    ExecuteBatchValues,
    /// `(target, value, data)[]` by an account.
    ExecuteCalls,
    /// ERC-7579 and ERC-7821 `execute(mode, packed)`.
    ExecuteMode,
    /// Safe `execTransaction` and the module's form: `(to, value, data, operation, …)`.
    SafeExecute,
    /// Safe `multiSend(packed)`.
    MultiSend,
    /// Safe `setup`: owners, and a delegatecall.
    SafeSetup,
    /// `(singleton, initializer, …)`.
    CreateProxy,
    /// ERC-4337 `handleOps`.
    HandleOps,
    /// ERC-4337 `handleAggregatedOps`.
    HandleAggregatedOps,
    /// The universal router's `(commands, inputs, …)`.
    RouterCommands,
    /// `(target, data, …)` with the target's code or funds: `functionDelegateCall` and similar.
    DelegateCall,
    /// `(spender, amount, data)`: an allowance, then a call of the spender.
    ApproveAndCall,
    /// `upgradeToAndCall(implementation, data)`: the new code runs at once.
    UpgradeAndCall,
    /// Seaport: orders given inside the call are filled by the caller.
    FillsOrders,
    /// Registers orders of the caller without a signature.
    ValidatesOrders,
    /// CoW's `setPreSignature(uid, true)`.
    PreSign,
}
