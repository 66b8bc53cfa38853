//! Calldata of the few functions that every token and pool has, written without an ABI.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, sol};

sol! {
    function balanceOf(address) external view returns (uint256);
    function totalSupply() external view returns (uint256);
    function transfer(address, uint256) external returns (bool);
    function transferFrom(address, address, uint256) external returns (bool);
    function approve(address, uint256) external returns (bool);
    function allowance(address, address) external view returns (uint256);
    function owner() external view returns (address);
    function getOwner() external view returns (address);
    function name() external view returns (string);
    function symbol() external view returns (string);
    function decimals() external view returns (uint8);
    function token0() external view returns (address);
    function token1() external view returns (address);
    function fee() external view returns (uint24);
    function factory() external view returns (address);
    function getReserves() external view returns (uint112, uint112, uint32);
    function sync() external;
    function getPair(address, address) external view returns (address);
    function createPair(address, address) external returns (address);
    function getPool(address, address, uint24) external view returns (address);
    function implementation() external view returns (address);
    function facetAddress(bytes4) external view returns (address);
    function facetAddresses() external view returns (address[]);
    function getMinDelay() external view returns (uint256);
    function delay() external view returns (uint256);
    function getThreshold() external view returns (uint256);
    function getOwners() external view returns (address[]);
    function run(address, bytes) external returns (bytes);
    function supportsInterface(bytes4) external view returns (bool);
    function ownerOf(uint256) external view returns (address);
    function tokenByIndex(uint256) external view returns (uint256);
    function isApprovedForAll(address, address) external view returns (bool);
    function setApprovalForAll(address, bool) external;
    interface Multi {
        function balanceOf(address, uint256) external view returns (uint256);
        function safeTransferFrom(address, address, uint256, uint256, bytes) external;
    }
    function swapExactTokensForTokensSupportingFeeOnTransferTokens(
        uint256 amount, uint256 least, address[] path, address to, uint256 deadline) external;
}

/// The calldata of a call.
pub(crate) fn encode(call: &impl SolCall) -> Bytes {
    call.abi_encode().into()
}

/// An address as a 32-byte word.
pub(crate) fn word_of(address: Address) -> U256 {
    U256::from_be_slice(address.as_slice())
}

/// The address in a word, when the word is nothing but an address that nobody could mistake for a number.
pub(crate) fn address_in(word: U256) -> Option<Address> {
    (word.bit_len() > 80 && word.bit_len() <= 160).then(|| Address::from_word(word.into()))
}

/// Whether nobody has the key of an address: zero, the usual graves and all else that is too small to be a hash.
pub(crate) fn is_nobody(address: Address) -> bool {
    word_of(address).bit_len() <= 80
}

/// The word with each of the 20-byte runs in it that are this address replaced by another, one at a time.
pub(crate) fn replaced(word: U256, from: Address, to: Address) -> Vec<U256> {
    let bytes = word.to_be_bytes::<32>();
    let places = (0..=12_usize).rev().filter(|at| bytes[*at..at + 20] == from[..]);
    let put = |at: usize| {
        let mut bytes = bytes;
        bytes[at..at + 20].copy_from_slice(to.as_slice());
        U256::from_be_bytes(bytes)
    };
    places.map(put).collect()
}
