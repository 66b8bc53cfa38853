// Compiles the stand-in for Tether with the pinned solc and writes its init code, as hex digits, to standard output.
'use strict';

const { readFileSync } = require('fs');
const { join } = require('path');
const solc = require('solc');

const source = join(__dirname, '../../crates/evm/src/canonical/tether/Tether.sol');
const input = {
  language: 'Solidity',
  sources: { 'Tether.sol': { content: readFileSync(source, 'utf8') } },
  settings: {
    optimizer: { enabled: true, runs: 200 },
    evmVersion: 'cancun',
    metadata: { bytecodeHash: 'none', appendCBOR: false },
    outputSelection: { '*': { '*': ['evm.bytecode.object'] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
const errors = (output.errors || []).filter((error) => error.severity === 'error');
if (errors.length > 0) {
  process.stderr.write(errors.map((error) => error.formattedMessage).join('\n'));
  process.exit(1);
}
process.stdout.write(`${output.contracts['Tether.sol'].Tether.evm.bytecode.object}\n`);
