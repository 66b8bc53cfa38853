// Uses the development chain at the URL given as argument with ethers and viem, which know nothing of it: deploys
// OpenZeppelin's token, sends transactions of types 0, 1, 2 and 4, reads logs, estimates, and meets errors.
// Writes one JSON object to standard output: {token, types}.
'use strict';

const assert = require('assert');
const { AbiCoder, ContractFactory, JsonRpcProvider, Wallet, isError } = require('ethers');
const { createPublicClient, createWalletClient, defineChain, http, parseAbi } = require('viem');
const { privateKeyToAccount } = require('viem/accounts');
const artifact = require('@openzeppelin/contracts-v4/build/contracts/ERC20PresetFixedSupply.json');

const [, , url] = process.argv;
const KEYS = [
  '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80',
  '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d',
];
const ZERO = '0x0000000000000000000000000000000000000000';
const types = [];

async function withEthers() {
  const provider = new JsonRpcProvider(url, undefined, { pollingInterval: 20, cacheTimeout: -1 });
  const wallet = new Wallet(KEYS[0], provider);
  const friend = new Wallet(KEYS[1]).address;
  assert.strictEqual((await provider.getNetwork()).chainId, 31337n);

  const factory = new ContractFactory(artifact.abi, artifact.bytecode, wallet);
  const token = await factory.deploy('Plain', 'PLN', 1_000_000n, wallet.address);
  await token.waitForDeployment();
  const address = await token.getAddress();
  assert.strictEqual(await token.balanceOf(wallet.address), 1_000_000n);
  assert.notStrictEqual(await provider.getCode(address), '0x');

  const estimated = await token.transfer.estimateGas(friend, 100n);
  const receipt = await (await token.transfer(friend, 100n, { gasLimit: estimated })).wait();
  assert.strictEqual(receipt.status, 1);
  assert(receipt.gasUsed <= estimated, 'the estimate was enough');
  assert.strictEqual(receipt.logs.length, 1);
  const found = await token.queryFilter(token.filters.Transfer(wallet.address, friend), 0, 'latest');
  assert.strictEqual(found.length, 1);
  assert.strictEqual(found[0].args.value, 100n);
  assert.strictEqual(found[0].transactionHash, receipt.hash);

  for (const type of [0, 1, 2]) {
    const sent = await wallet.sendTransaction({ to: friend, value: 1n, type });
    assert.strictEqual((await sent.wait()).type, type);
    const seen = await provider.getTransaction(sent.hash);
    assert.strictEqual(seen.from, wallet.address);
    types.push(seen.type);
  }
  // The authority is the sender, whose nonce the transaction itself has used by then.
  const nonce = (await wallet.getNonce()) + 1;
  const authorization = await wallet.authorize({ address, nonce });
  const set = await wallet.sendTransaction({ to: friend, type: 4, authorizationList: [authorization] });
  assert.strictEqual((await set.wait()).status, 1);
  types.push((await provider.getTransaction(set.hash)).type);
  assert.strictEqual(await provider.getCode(wallet.address), `0xef0100${address.slice(2).toLowerCase()}`);
  const reset = await wallet.authorize({ address: ZERO, nonce: nonce + 2 });
  await (await wallet.sendTransaction({ to: friend, type: 4, authorizationList: [reset] })).wait();
  assert.strictEqual(await provider.getCode(wallet.address), '0x');

  await assert.rejects(token.transfer(friend, 10_000_000n), (error) => {
    return isError(error, 'CALL_EXCEPTION') && error.reason === 'ERC20: transfer amount exceeds balance';
  });
  const old = await wallet.signTransaction({ to: friend, nonce: 0, gasLimit: 21000n, gasPrice: 2n * 10n ** 9n, type: 0, chainId: 31337 });
  await assert.rejects(provider.broadcastTransaction(old), (error) => isError(error, 'NONCE_EXPIRED'));
  const poor = new Wallet(`0x${'11'.repeat(32)}`, provider);
  const broke = await poor.signTransaction({ to: friend, nonce: 0, gasLimit: 21000n, gasPrice: 10n ** 10n, type: 0, chainId: 31337 });
  await assert.rejects(provider.broadcastTransaction(broke), (error) => isError(error, 'INSUFFICIENT_FUNDS'));

  const block = await provider.getBlock('latest', true);
  assert.strictEqual(block.prefetchedTransactions.length, 1);
  const fees = await provider.getFeeData();
  assert(fees.maxFeePerGas > 0n && fees.gasPrice > 0n);
  const slot = await provider.getStorage(address, 2);
  assert.strictEqual(AbiCoder.defaultAbiCoder().decode(['uint256'], slot)[0], 1_000_000n);
  provider.destroy();
  return address;
}

async function withViem(token) {
  const chain = defineChain({ id: 31337, name: 'dev', nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 }, rpcUrls: { default: { http: [url] } } });
  const account = privateKeyToAccount(KEYS[1]);
  const transport = http(url, { batch: true });
  const reader = createPublicClient({ chain, transport, pollingInterval: 20 });
  const wallet = createWalletClient({ account, chain, transport });
  const abi = parseAbi([
    'function balanceOf(address) view returns (uint256)',
    'function transfer(address to, uint256 amount) returns (bool)',
    'event Transfer(address indexed from, address indexed to, uint256 value)',
  ]);
  const [balance, number, id] = await Promise.all([
    reader.readContract({ address: token, abi, functionName: 'balanceOf', args: [account.address] }),
    reader.getBlockNumber(),
    reader.getChainId(),
  ]);
  assert.strictEqual(balance, 100n);
  assert.strictEqual(id, 31337);

  const { request } = await reader.simulateContract({ account, address: token, abi, functionName: 'transfer', args: [token, 40n] });
  const hash = await wallet.writeContract(request);
  const receipt = await reader.waitForTransactionReceipt({ hash });
  assert.strictEqual(receipt.status, 'success');
  assert.strictEqual(receipt.blockNumber, number + 1n);
  const logs = await reader.getLogs({ address: token, event: abi[2], args: { from: account.address }, fromBlock: 0n });
  assert.strictEqual(logs.length, 1);
  assert.strictEqual(logs[0].args.value, 40n);

  for (const shape of [
    { type: 'legacy' },
    { type: 'eip2930', accessList: [{ address: token, storageKeys: [`0x${'00'.repeat(32)}`] }] },
    { type: 'eip1559' },
    { type: 'eip7702' },
  ]) {
    if (shape.type === 'eip7702') {
      shape.authorizationList = [await wallet.signAuthorization({ contractAddress: token, executor: 'self' })];
    }
    const sent = await wallet.sendTransaction({ to: token, value: 0n, data: '0x18160ddd', ...shape });
    assert.strictEqual((await reader.waitForTransactionReceipt({ hash: sent })).status, 'success');
    types.push((await reader.getTransaction({ hash: sent })).type);
  }
  assert.strictEqual((await reader.getCode({ address: account.address })).slice(0, 8), '0xef0100');

  await assert.rejects(
    reader.simulateContract({ account, address: token, abi, functionName: 'transfer', args: [token, 10_000n] }),
    /ERC20: transfer amount exceeds balance/,
  );
  const history = await reader.getFeeHistory({ blockCount: 4, rewardPercentiles: [10, 90] });
  assert.strictEqual(history.baseFeePerGas.length, 5);
  assert.strictEqual(history.reward.length, 4);
  const { accessList } = await reader.createAccessList({ account, to: token, data: '0x18160ddd' });
  assert.strictEqual(accessList.length, 1);
  assert.strictEqual(accessList[0].storageKeys.length, 1);
  const proof = await reader.getProof({ address: token, storageKeys: [`0x${'02'.padStart(64, '0')}`] });
  assert.strictEqual(proof.storageProof[0].value, 1_000_000n);
  assert.strictEqual(await reader.getTransactionCount({ address: account.address, blockTag: 'pending' }), 6);
}

async function main() {
  const token = await withEthers();
  await withViem(token);
  process.stdout.write(JSON.stringify({ token, types }));
}

main().catch((error) => {
  process.stderr.write(`${error.stack || error}\n`);
  process.exit(1);
});
