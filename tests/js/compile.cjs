// Compiles contracts/fixtures/src with solc from npm. Writes contracts/fixtures/{market,artifacts}.json, or with --check
// exits 1 when what stands there is not what the sources give.
'use strict';
const fs = require('fs');
const path = require('path');
const crypto = require('crypto');
const solc = require('solc');

const root = path.join(__dirname, '../../contracts/fixtures');
const folder = path.join(root, 'src');
// The market is part of the program, the rest is for tests.
const outputs = { 'market.json': (file) => file === 'Market.sol', 'artifacts.json': (file) => file !== 'Market.sol' };

// Several generations of code, so that nothing is learnt from one compiler's habits.
const PLAIN = { name: '', optimizer: { enabled: true, runs: 200 }, viaIR: false, evmVersion: 'osaka' };
const RAW = { name: 'Raw', optimizer: { enabled: false }, viaIR: false, evmVersion: 'london' };
const IR = { name: 'Ir', optimizer: { enabled: true, runs: 1 }, viaIR: true, evmVersion: 'paris' };
const VARIANTS = {
  Raw: ['Standard', 'FeeOnePercent', 'PowerBlacklist', 'PowerTax', 'TrapWhitelist', 'PowerMint', 'HiddenOwner', 'SaysMoved'],
  Ir: ['Standard', 'FeeOnePercent', 'PowerBlacklist', 'PowerTax', 'TrapPair', 'PowerMint', 'PowerMaxTrade', 'MaskedOwner'],
};
const LIBRARIES = ['IHeld', 'Seed', 'IMaker', 'Base', 'Owned', 'Calls', 'IToken', 'IFactory', 'IERC20Like', 'ISwap', 'IMake', 'Husk', 'Shell', 'Evasive', 'PoolThree', 'Mark', 'Bomb', 'Introspects', 'Fuse', 'Beacon', 'Sums', 'Older'];

function sources() {
  const names = fs.readdirSync(folder).filter((name) => name.endsWith('.sol')).sort();
  return Object.fromEntries(names.map((name) => [name, { content: fs.readFileSync(path.join(folder, name), 'utf8') }]));
}

function compile(input, { optimizer, viaIR, evmVersion, name }) {
  const wanted = ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'];
  // Naming the contracts spares the compiler all others.
  const selection = name === '' ? { '*': wanted } : Object.fromEntries(VARIANTS[name].map((contract) => [contract, wanted]));
  const standard = {
    language: 'Solidity',
    sources: input,
    settings: {
      optimizer, viaIR, evmVersion,
      metadata: { bytecodeHash: 'none', appendCBOR: false },
      outputSelection: { '*': selection },
    },
  };
  const result = JSON.parse(solc.compile(JSON.stringify(standard)));
  const errors = (result.errors || []).filter((error) => error.severity === 'error');
  if (errors.length > 0) throw new Error(errors.map((error) => error.formattedMessage).join('\n'));
  return result.contracts;
}

// The same ABI in fewer bytes: an internal type tells nothing that the type does not.
function compact(abi) {
  return JSON.parse(JSON.stringify(abi, (key, value) => (key === 'internalType' ? undefined : value)));
}

function build() {
  const input = sources();
  const hash = crypto.createHash('sha256').update(JSON.stringify(input)).digest('hex');
  const found = {};
  for (const settings of [PLAIN, RAW, IR]) {
    for (const [file, contracts] of Object.entries(compile(input, settings))) {
      for (const [name, { abi, evm }] of Object.entries(contracts)) {
        const bytecode = evm?.bytecode?.object;
        if (!bytecode || (settings.name === '' && LIBRARIES.includes(name))) continue;
        const runtime = file === 'Market.sol' ? { runtime: '0x' + evm.deployedBytecode.object } : {};
        found[name + settings.name] = { file, entry: { abi: compact(abi), bytecode: '0x' + bytecode, ...runtime } };
      }
    }
  }
  return Object.fromEntries(Object.entries(outputs).map(([out, belongs]) => {
    const names = Object.keys(found).filter((name) => belongs(found[name].file)).sort();
    const lines = names.map((name) => ` ${JSON.stringify(name)}: ${JSON.stringify(found[name].entry)}`);
    const head = `"solc": ${JSON.stringify(solc.version())}, "sources": ${JSON.stringify(hash)}`;
    return [out, `{${head}, "contracts": {\n${lines.join(',\n')}\n}}\n`];
  }));
}

const check = process.argv.includes('--check');
for (const [name, text] of Object.entries(build())) {
  const out = path.join(root, name);
  if (check && fs.readFileSync(out, 'utf8') !== text) throw new Error(`${name} is not what the sources give`);
  if (!check) fs.writeFileSync(out, text);
}
