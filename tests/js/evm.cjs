// Runs a corpus of signed transactions on @ethereumjs/vm and writes, as one JSON object, everything a second EVM needs to run
// them too: the head, the genesis accounts, and per transaction its bytes, status, gas, logs and the state root after it.
// The contracts are those of npm packages and of the opcodes below. The corpus is the same in every run.
'use strict';

const { Common, Hardfork, Mainnet } = require('@ethereumjs/common');
const { createBlock } = require('@ethereumjs/block');
const { createTxFromRLP } = require('@ethereumjs/tx');
const { createAccount, createAddressFromString, hexToBytes, bytesToHex } = require('@ethereumjs/util');
const { createVM, runTx } = require('@ethereumjs/vm');
const { Interface, Wallet, getCreateAddress, keccak256, parseEther, zeroPadValue, toBeHex } = require('ethers');

const HEAD = {
  chain_id: 1,
  number: 5,
  timestamp: 1_767_225_600,
  gas_limit: 60_000_000,
  base_fee: 1_000_000_000,
  coinbase: '0x00000000000000000000000000000000c01bba5e',
  prevrandao: `0x${'5a'.repeat(32)}`,
};
const DEADLINE = HEAD.timestamp + 3600;
const GWEI = 1_000_000_000n;

const artifact = {
  uniswap: (path) => read(`@uniswap/${path}`),
  old: (name) => read(`@openzeppelin/contracts-v4/build/contracts/${name}.json`),
  new: (name) => read(`@openzeppelin/contracts/build/contracts/${name}.json`),
};

function read(path) {
  const json = require(path);
  const code = json.bytecode ?? json.evm?.bytecode?.object;
  return { face: new Interface(json.abi), code: code.startsWith('0x') ? code : `0x${code}` };
}

// A small generator of pseudo-random numbers (mulberry32).
function generator(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const wallets = [1, 2, 3, 4].map((n) => new Wallet(keccak256(toBeHex(n, 32))));
const [ana, ben, cleo, delegate] = wallets;

class Corpus {
  constructor() {
    this.alloc = {};
    this.nonces = new Map();
    this.transactions = [];
    for (const wallet of wallets) this.alloc[wallet.address.toLowerCase()] = { balance: toBeHex(parseEther('100000')) };
  }

  place(code, balance = 0n) {
    const address = keccak256(toBeHex(Object.keys(this.alloc).length, 32)).slice(0, 42);
    this.alloc[address] = { balance: balance === 0n ? '0x0' : toBeHex(balance), code };
    return address;
  }

  take(wallet) {
    const nonce = this.nonces.get(wallet.address) ?? 0;
    this.nonces.set(wallet.address, nonce + 1);
    return nonce;
  }

  async send(wallet, fields) {
    const nonce = this.take(wallet);
    const fees = fields.type === 0 || fields.type === 1
      ? { gasPrice: 3n * GWEI }
      : { type: fields.type ?? 2, maxFeePerGas: 5n * GWEI, maxPriorityFeePerGas: GWEI };
    this.transactions.push(await wallet.signTransaction({ chainId: 1, nonce, gasLimit: 3_000_000, ...fees, ...fields }));
    return nonce;
  }

  async deploy(wallet, { code, face }, ...args) {
    const nonce = await this.send(wallet, { data: code + face.encodeDeploy(args).slice(2), gasLimit: 8_000_000 });
    return { address: getCreateAddress({ from: wallet.address, nonce }), face };
  }

  call(wallet, contract, method, args, fields = {}) {
    return this.send(wallet, { to: contract.address, data: contract.face.encodeFunctionData(method, args), ...fields });
  }
}

async function exchange(corpus) {
  const weth = await corpus.deploy(ana, artifact.uniswap('v2-periphery/build/WETH9.json'));
  const factory = await corpus.deploy(ana, artifact.uniswap('v2-core/build/UniswapV2Factory.json'), ana.address);
  const router = await corpus.deploy(
    ana, artifact.uniswap('v2-periphery/build/UniswapV2Router02.json'), factory.address, weth.address,
  );
  const plain = await corpus.deploy(ana, artifact.uniswap('v2-core/build/ERC20.json'), parseEther('1000000'));
  const fee = await corpus.deploy(ana, artifact.uniswap('v2-periphery/build/DeflatingERC20.json'), parseEther('1000000'));
  for (const token of [plain, fee]) {
    await corpus.call(ana, token, 'approve', [router.address, 2n ** 256n - 1n]);
    await corpus.call(ana, router, 'addLiquidityETH',
      [token.address, parseEther('10000'), 0, 0, ana.address, DEADLINE], { value: parseEther('50') });
    for (const amount of ['0.01', '1', '25']) {
      await corpus.call(ben, router, 'swapExactETHForTokensSupportingFeeOnTransferTokens',
        [0, [weth.address, token.address], ben.address, DEADLINE], { value: parseEther(amount) });
    }
    await corpus.call(ben, token, 'approve', [router.address, 2n ** 256n - 1n], { type: 0 });
    for (const amount of ['1', '10', '400']) {
      await corpus.call(ben, router, 'swapExactTokensForETHSupportingFeeOnTransferTokens',
        [parseEther(amount), 0, [token.address, weth.address], ben.address, DEADLINE]);
    }
    await corpus.call(ben, token, 'transfer', [cleo.address, parseEther('3')], { type: 1 });
    await corpus.call(cleo, token, 'transfer', [ben.address, parseEther('4000')]);
    await corpus.call(cleo, token, 'transferFrom', [ana.address, cleo.address, 1]);
  }
  await corpus.call(ben, router, 'swapExactTokensForTokens',
    [parseEther('2'), 0, [plain.address, weth.address], ben.address, DEADLINE - 7200]);
  await corpus.call(ana, plain, 'approve', [router.address, 0]);
  await corpus.call(cleo, weth, 'deposit', [], { value: parseEther('7') });
  await corpus.call(cleo, weth, 'withdraw', [parseEther('2')]);
  await corpus.call(cleo, weth, 'withdraw', [parseEther('20')]);
  await corpus.call(cleo, factory, 'createPair', [weth.address, cleo.address]);
  await corpus.call(cleo, factory, 'createPair', [weth.address, plain.address]);
}

async function tokens(corpus) {
  const coin = await corpus.deploy(ana, artifact.old('ERC20PresetMinterPauser'), 'Coin', 'CN');
  await corpus.call(ana, coin, 'mint', [ben.address, parseEther('500')]);
  await corpus.call(ben, coin, 'mint', [ben.address, 1]);
  await corpus.call(ben, coin, 'approve', [cleo.address, 77]);
  await corpus.call(cleo, coin, 'transferFrom', [ben.address, cleo.address, 70]);
  await corpus.call(cleo, coin, 'transferFrom', [ben.address, cleo.address, 70]);
  await corpus.call(ana, coin, 'pause', []);
  await corpus.call(ben, coin, 'transfer', [cleo.address, 1]);
  await corpus.call(ana, coin, 'unpause', []);
  await corpus.call(ben, coin, 'burn', [parseEther('1')]);
  await corpus.call(ana, coin, 'renounceRole', [`0x${'00'.repeat(32)}`, ana.address]);
  const fixed = await corpus.deploy(ana, artifact.old('ERC20PresetFixedSupply'), 'Fixed', 'FX', 10n ** 24n, ana.address);
  for (let n = 0; n < 6; n += 1) await corpus.call(ana, fixed, 'transfer', [wallets[n % 4].address, 10n ** BigInt(n)]);
  const art = await corpus.deploy(ana, artifact.old('ERC721PresetMinterPauserAutoId'), 'Art', 'ART', 'ipfs://x/');
  for (let n = 0; n < 4; n += 1) await corpus.call(ana, art, 'mint', [ben.address]);
  await corpus.call(ben, art, 'approve', [cleo.address, 1]);
  await corpus.call(cleo, art, 'transferFrom', [ben.address, cleo.address, 1]);
  await corpus.call(cleo, art, 'transferFrom', [ben.address, cleo.address, 2]);
  await corpus.call(ben, art, 'setApprovalForAll', [cleo.address, true]);
  await corpus.call(cleo, art, 'safeTransferFrom(address,address,uint256)', [ben.address, art.address, 2]);
  await corpus.call(cleo, art, 'safeTransferFrom(address,address,uint256)', [ben.address, ana.address, 2]);
  const items = await corpus.deploy(ana, artifact.old('ERC1155PresetMinterPauser'), 'ipfs://y/');
  await corpus.call(ana, items, 'mintBatch', [ben.address, [1, 2, 3], [10, 20, 30], '0x']);
  await corpus.call(ben, items, 'safeBatchTransferFrom', [ben.address, cleo.address, [1, 3], [4, 5], '0x1234']);
  await corpus.call(ben, items, 'safeTransferFrom', [ben.address, cleo.address, 2, 21, '0x']);
  await corpus.call(cleo, items, 'burn', [cleo.address, 1, 4]);
}

// Assembles words: numbers are opcodes, strings are pushed.
function assemble(...parts) {
  const push = (hex) => (0x5f + hex.length / 2).toString(16).padStart(2, '0') + hex;
  return `0x${parts.map((part) => (typeof part === 'number' ? part.toString(16).padStart(2, '0') : push(part))).join('')}`;
}

const RETURN_TOP = ['00', 0x52, '20', '00', 0xf3];
const ADDRESS_20 = '11'.repeat(20);

// Init code that deploys the given runtime.
function initOf(runtime) {
  const length = (runtime.length / 2 - 1).toString(16).padStart(4, '0');
  return `0x61${length}600c60003961${length}6000f3${runtime.slice(2)}`;
}

function fixtures() {
  const code = [
    assemble(0x5b, '00', 0x56), // an endless loop
    assemble(0x5b, '01', '00', 0x55, '00', 0x56), // the same with writes
    assemble(0xfe),
    assemble('00', 0x80, 0xfd),
    assemble('deadbeef', '00', 0x52, '04', '1c', 0xfd),
    assemble(0x50),
    assemble('03', 0x56),
    assemble('ffffff', '00', 0x52, 'ffffff', '00', 0xf3), // much memory
    assemble('ffffffffff', '00', 0xf3),
    assemble(0x42, 0x43, 0x44, 0x45, 0x46, 0x48, 0x41, 0x3a, 0x32, 0x33, 0x20, ...RETURN_TOP),
    assemble('00', 0x54, '01', 0x01, 0x80, '00', 0x55, ...RETURN_TOP), // a counter
    assemble('00', '00', 0x55, '07', '01', 0x55, '00', '01', 0x55), // refunds
    assemble('2a', '05', 0x5d, '05', 0x5c, ...RETURN_TOP), // transient storage
    assemble('20', '00', '40', 0x5e, 0x59, ...RETURN_TOP), // MCOPY
    assemble('0f', 0x1e, 0x80, 0x1e, 0x01, ...RETURN_TOP), // CLZ
    assemble(ADDRESS_20, 0x31, 0x47, 0x01, ...RETURN_TOP),
    assemble(ADDRESS_20, 0x3b, ADDRESS_20, 0x3f, 0x01, ...RETURN_TOP),
    assemble('00', '00', '00', '00', 0x34, ADDRESS_20, 0x5a, 0xf1, ...RETURN_TOP), // forwards its value
    assemble(ADDRESS_20, 0xff),
    assemble(0x30, 0xff),
    assemble('20', '00', 0xa0, '07', '20', '00', 0xa1, '08', '07', '20', '00', 0xa2, '09', '08', '07', '20', '00', 0xa3),
    assemble('00', '00', 0xf0, ...RETURN_TOP),
    assemble('2a', '00', '00', '00', 0xf5, '2a', '00', '00', '00', 0xf5, ...RETURN_TOP), // CREATE2 twice
    assemble('60fe60005360016000f3', '00', 0x52, '0a', '16', '00', 0xf0, ...RETURN_TOP), // deploys INVALID
    assemble('60ef60005360016000f3', '00', 0x52, '0a', '16', '00', 0xf0, ...RETURN_TOP), // code that starts with EF
    assemble('30ff', '00', 0x52, '02', '1e', '00', 0xf0, ...RETURN_TOP), // created and destroyed at once
    assemble('00', '00', '00', '00', '00', 0x30, 0x5a, 0xf1), // calls itself until the gas is gone
    assemble('00', '00', '00', '00', 0x30, 0x5a, 0xf4),
    assemble('00', '00', '00', '00', 0x30, 0x5a, 0xfa, ...RETURN_TOP),
    assemble(0x36, '00', '00', 0x37, '00', '00', 0x36, '00', 0x36, 0x35, 0x5a, 0xfa, 0x3d, '00', '00', 0x3e, 0x3d, '00', 0xfd),
    assemble('03', '02', '05', 0x09, '07', '05', '03', 0x08, '02', 0x0a, '1f', 0x0b, ...RETURN_TOP),
    assemble('00', '05', 0x04, '00', '05', 0x06, '00', '05', 0x07, 0x01, 0x01, ...RETURN_TOP),
    assemble('ff'.repeat(32), '01', 0x05, '80'.padEnd(64, '0'), '03', 0x1d, 0x13, ...RETURN_TOP),
  ];
  return code;
}

// Code that calls a precompile with all calldata after the first word, which is its address.
const CALLER = assemble(
  '20', 0x36, 0x03, 0x80, '20', '00', 0x37, '00', '00', 0x91, '00', '00', '00', 0x35, 0x5a, 0xf1,
  '00', 0x52, 0x3d, '00', '20', 0x3e, 0x3d, '20', 0x01, '00', 0xf3,
);

function precompileInputs(random) {
  const bytes = (count) => Array.from({ length: count }, () => random(256).toString(16).padStart(2, '0')).join('');
  const inputs = [];
  for (const address of [1, 2, 3, 4, 6, 7, 8, 9, 0x0b, 0x0c, 0x0d, 0x0f, 0x10, 0x11, 0x100]) {
    for (const length of [0, 64, 160, 213]) inputs.push(`0x${address.toString(16).padStart(64, '0')}${bytes(length)}`);
  }
  const word = (value) => value.toString(16).padStart(64, '0');
  const modexp = (base, exponent, modulus) => [base, exponent, modulus].map((hex) => word(hex.length / 2)).join('') + base + exponent + modulus;
  inputs.push(`0x${word(5)}${modexp('03', '0a', '07')}`, `0x${word(5)}${modexp(bytes(64), bytes(32), bytes(64))}`);
  inputs.push(`0x${word(5)}${word(2000)}${word(0)}${word(0)}`);
  inputs.push(`0x${word(6)}${word(1)}${word(2)}${word(1)}${word(2)}`, `0x${word(7)}${word(1)}${word(2)}${word(9)}`, `0x${word(8)}`);
  return inputs;
}

// Opcodes that need no block history and no proof system.
const RANDOM_OPCODES = [
  ...range(0x01, 0x0b), ...range(0x10, 0x1e), 0x20, ...range(0x30, 0x3f), ...range(0x41, 0x48), ...range(0x50, 0x5e),
  ...range(0x80, 0x9f), ...range(0xa0, 0xa4), 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xfa, 0xfd, 0xff,
];

function range(from, to) {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

function randomCode(random) {
  let code = '';
  // A stock of small numbers, or nearly every program would end by a stack that is empty.
  for (let n = 0; n < 60; n += 1) code += `60${random(96).toString(16).padStart(2, '0')}`;
  for (let n = 0; n < 20 + random(100); n += 1) {
    if (random(5) < 3) {
      const size = random(8) === 0 ? 1 + random(32) : 1;
      code += (0x5f + size).toString(16);
      for (let byte = 0; byte < size; byte += 1) code += random(size === 1 ? 96 : 256).toString(16).padStart(2, '0');
    } else {
      code += RANDOM_OPCODES[random(RANDOM_OPCODES.length)].toString(16).padStart(2, '0');
    }
  }
  return `0x${code}`;
}

async function opcodes(corpus) {
  const random = generator(2026);
  for (const code of fixtures()) {
    const to = corpus.place(code, 5n);
    await corpus.send(ana, { to, value: 3n, gasLimit: 500_000, data: '0x' + '0'.repeat(62) + '04' });
    await corpus.send(ben, { to, gasLimit: 120_000 });
  }
  const caller = corpus.place(CALLER);
  for (const data of precompileInputs(random)) await corpus.send(cleo, { to: caller, data, gasLimit: 2_000_000 });
  for (let n = 0; n < 150; n += 1) {
    const code = randomCode(random);
    if (n % 5 === 0) await corpus.send(ben, { data: code, gasLimit: 300_000 });
    else await corpus.send(ben, { to: corpus.place(code, 9n), data: randomCode(random), value: BigInt(n % 3), gasLimit: 300_000 });
  }
}

async function kinds(corpus) {
  const counter = corpus.place(assemble('00', 0x54, '01', 0x01, 0x80, '00', 0x55, ...RETURN_TOP));
  const accessList = [{ address: counter, storageKeys: [zeroPadValue('0x', 32), toBeHex(9, 32)] }];
  for (const type of [0, 1, 2]) {
    await corpus.send(ana, { to: counter, type, ...(type > 0 ? { accessList } : {}) });
    await corpus.send(ana, { to: cleo.address, type, value: 12345n, gasLimit: 21_000 });
  }
  await corpus.send(ana, { data: initOf(assemble('07', ...RETURN_TOP)) });
  await corpus.send(ana, { data: initOf(`0x${'5b'.repeat(24_577)}`), gasLimit: 9_000_000 });
  await corpus.send(ana, { to: ben.address, data: `0x${'ff'.repeat(3000)}`, gasLimit: 200_000 });
  const authorize = (nonce, address) => delegate.authorize({ address, nonce, chainId: 1 });
  await corpus.send(ana, { type: 4, to: delegate.address, authorizationList: [await authorize(0, counter)] });
  await corpus.send(ben, { to: delegate.address, value: 1n });
  await corpus.send(ana, { type: 4, to: counter, authorizationList: [await authorize(0, counter), await authorize(1, `0x${'00'.repeat(20)}`)] });
  await corpus.send(ben, { to: delegate.address, value: 1n });
}

async function machine(corpus) {
  const common = new Common({ chain: Mainnet, hardfork: Hardfork.Osaka });
  const vm = await createVM({ common });
  for (const [address, { balance, code }] of Object.entries(corpus.alloc)) {
    const place = createAddressFromString(address);
    await vm.stateManager.putAccount(place, createAccount({ balance: BigInt(balance), nonce: 0n }));
    if (code) await vm.stateManager.putCode(place, hexToBytes(code));
  }
  await vm.stateManager.flush?.();
  const block = createBlock({
    header: {
      number: BigInt(HEAD.number), timestamp: BigInt(HEAD.timestamp), gasLimit: BigInt(HEAD.gas_limit),
      baseFeePerGas: BigInt(HEAD.base_fee), coinbase: HEAD.coinbase, mixHash: HEAD.prevrandao, excessBlobGas: 0n, blobGasUsed: 0n,
    },
  }, { common, skipConsensusFormatValidation: true });
  return { vm, common, block };
}

async function main() {
  const corpus = new Corpus();
  await exchange(corpus);
  await tokens(corpus);
  await kinds(corpus);
  await opcodes(corpus);
  const { vm, common, block } = await machine(corpus);
  const root = async () => bytesToHex(await vm.stateManager.getStateRoot());
  const genesisRoot = await root();
  const transactions = [];
  for (const raw of corpus.transactions) {
    const tx = createTxFromRLP(hexToBytes(raw), { common });
    const result = await runTx(vm, { tx, block, skipBlockGasLimitValidation: true, skipHardForkValidation: true });
    const logs = (result.execResult.logs ?? []).map(([address, topics, data]) => ({
      address: bytesToHex(address), topics: topics.map(bytesToHex), data: bytesToHex(data),
    }));
    const failed = result.execResult.exceptionError;
    transactions.push({
      raw, status: failed ? 0 : 1, error: failed?.error ?? null, gas: Number(result.totalGasSpent),
      output: bytesToHex(result.execResult.returnValue), logs: failed ? [] : logs, root: await root(),
    });
  }
  process.stdout.write(JSON.stringify({ head: HEAD, alloc: corpus.alloc, genesis_root: genesisRoot, transactions }));
}

main().catch((error) => {
  process.stderr.write(`${error.stack || error}\n`);
  process.exit(1);
});
