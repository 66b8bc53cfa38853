// Uses a chain through the gateway at the URL given as argument with ethers, which knows nothing of it: deploys a token,
// moves it, reads, and then tries to approve the address given as second argument.
// Writes one JSON object to standard output: {deployed, transferred, refused}.
'use strict';

const assert = require('assert');
const { ContractFactory, JsonRpcProvider, MaxUint256, Wallet } = require('ethers');
const artifact = require('@openzeppelin/contracts-v4/build/contracts/ERC20PresetFixedSupply.json');

const [, , url, drainer] = process.argv;
const KEY = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80';

async function main() {
  const provider = new JsonRpcProvider(url, undefined, { pollingInterval: 50, cacheTimeout: -1 });
  const wallet = new Wallet(KEY, provider);
  const factory = new ContractFactory(artifact.abi, artifact.bytecode, wallet);
  const token = await factory.deploy('Plain', 'PLN', 1_000_000n, wallet.address);
  await token.waitForDeployment();
  const address = await token.getAddress();
  const moved = await (await token.transfer('0x70997970C51812dc3A010C7d01b50e0d17dc79C8', 100n)).wait();
  assert.strictEqual(moved.status, 1);
  assert.strictEqual(await token.balanceOf(wallet.address), 999_900n);

  // The wallet shows what the gateway says.
  let refused = null;
  try {
    await token.approve(drainer, MaxUint256, { gasLimit: 100_000n });
  } catch (error) {
    refused = error;
  }
  assert(refused, 'the approval passed');
  const said = refused.info ? refused.info.error : refused.error;
  assert.strictEqual(said.code, -32003);
  assert(said.message.startsWith('blocked by policy'), said.message);
  assert.strictEqual(await token.allowance(wallet.address, drainer), 0n);
  process.stdout.write(JSON.stringify({ deployed: address, transferred: moved.hash, refused: said.data }));
  provider.destroy();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
