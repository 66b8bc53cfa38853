// Signs EIP-712 documents with ethers, which knows nothing of Surety, and opens and writes its keystore files.
// Reads one JSON object from standard input: {secret, documents, keystore?}; writes one to standard output.
'use strict';

const { Wallet, TypedDataEncoder, encryptKeystoreJson } = require('ethers');

async function sign(wallet, { domain, types, primaryType, message }) {
  const own = { ...types };
  // ethers adds the domain's type by itself and refuses it among the others.
  delete own.EIP712Domain;
  const primary = TypedDataEncoder.from(own).primaryType;
  if (primary !== primaryType) throw new Error(`the document's primary type is ${primaryType}, not ${primary}`);
  return {
    hash: TypedDataEncoder.hash(domain, own, message),
    signature: await wallet.signTypedData(domain, own, message),
  };
}

async function keystore(wallet, { json, password }) {
  const opened = await Wallet.fromEncryptedJson(json, password);
  const account = { address: wallet.address, privateKey: wallet.privateKey };
  const written = await encryptKeystoreJson(account, password, { scrypt: { N: 4096 } });
  return { address: opened.address, written };
}

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const input = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  const wallet = new Wallet(input.secret);
  const signed = [];
  for (const document of input.documents) signed.push(await sign(wallet, document));
  const opened = input.keystore ? await keystore(wallet, input.keystore) : null;
  process.stdout.write(JSON.stringify({ address: wallet.address, signed, keystore: opened }));
}

main().catch((error) => {
  process.stderr.write(`${error.stack || error}\n`);
  process.exit(1);
});
