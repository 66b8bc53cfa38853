// Answers hosts with the original phishing detector: one JSON value a line in, one JSON result a line out.
//
//   node phishing.cjs check            hosts (JSON strings) on stdin, results of `check` on stdout
//   node phishing.cjs check CONFIG     the same under the configuration in a JSON file
//   node phishing.cjs published        the package's own test cases: {options, cases: [{host, options, result}]}
//   node phishing.cjs time             hosts on stdin; {checks, nanoseconds} of the `check` calls alone
'use strict';
const fs = require('fs');
const path = require('path');
const Detector = require('eth-phishing-detect/src/detector');
const shipped = require('eth-phishing-detect/src/config.json');

const lines = () => fs.readFileSync(0, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));

function check(file) {
  const detector = new Detector(file ? JSON.parse(fs.readFileSync(file, 'utf8')) : shipped);
  const results = lines().map((host) => JSON.stringify(detector.check(host)));
  fs.writeFileSync(1, results.map((line) => `${line}\n`).join(''));
}

// Runs the package's test file with its test library, its downloads and its CSV parser replaced by recorders.
// Each `check` that the tests make becomes a case; `options` is an index into the distinct configurations, which are
// told apart by their text. An expectation of the package that does not hold ends the run.
function published() {
  const file = require.resolve('eth-phishing-detect/test/index.js');
  const options = [];
  const cases = [];
  const equal = (actual, expected, text) => {
    if (JSON.stringify(actual) !== JSON.stringify(expected)) throw new Error(`${text}: ${actual} is not ${expected}`);
  };
  const known = new Map();
  const number = (config) => {
    const text = JSON.stringify(config);
    if (!known.has(text)) known.set(text, options.push(config) - 1);
    return known.get(text);
  };
  const unexpected = (text) => { throw new Error(text); };
  const notEqual = (actual, other, text) => { if (actual === other) throw new Error(text); };
  const ok = (value, text) => { if (!value) throw new Error(text); };
  const recorder = { pass() {}, fail: unexpected, end() {}, ok, equal, equals: equal, notEqual, comment() {} };
  class Recording extends Detector {
    constructor(config) {
      super(config);
      this.number = number(config);
    }

    check(host) {
      const result = super.check(host);
      cases.push({ host, options: this.number, result });
      return result;
    }
  }
  const stubs = {
    tape: (_name, body) => body(recorder),
    needle: {},
    'async/mapValues': (_urls, _load, done) => done(null, { mewBlacklist: [], mewWhitelist: [] }),
    'csv-parse/lib/sync': (text) => text.split('\n').filter((l) => l && !l.startsWith('#')).slice(1)
      .map((l) => ({ Source: l.split(',')[0] })),
    'punycode/': { toASCII: (host) => require('url').domainToASCII(host) || host },
    '../src/detector': Recording,
  };
  const load = (name) => (name in stubs ? stubs[name] : require(name.startsWith('.')
    ? path.join(path.dirname(file), name) : name));
  new Function('require', '__dirname', fs.readFileSync(file, 'utf8'))(load, path.dirname(file));
  fs.writeFileSync(1, JSON.stringify({ options, cases }));
}

function time() {
  const detector = new Detector(shipped);
  const hosts = lines();
  for (const host of hosts.slice(0, 200)) detector.check(host);
  const start = process.hrtime.bigint();
  for (const host of hosts) detector.check(host);
  const nanoseconds = Number(process.hrtime.bigint() - start);
  console.log(JSON.stringify({ checks: hosts.length, nanoseconds }));
}

const [command, file] = process.argv.slice(2);
if (command === 'check') check(file);
else if (command === 'published') published();
else if (command === 'time') time();
else { console.error('usage: phishing.cjs check [CONFIG] | published | time'); process.exit(2); }
