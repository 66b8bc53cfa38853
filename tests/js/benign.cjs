// What honest people do, through the gateway at the URL given as first argument, before the development chain at the second
// one (`surety devchain --canonical`): ether, WETH, USDC, OpenZeppelin's token, Uniswap 2 and 3, a Safe. What was there before
// them (pools with something in them) is brought to the chain directly.
// Writes one JSON object to standard output: {passed, refused: [{step, message, data}]}.
'use strict';

const { AbiCoder, Contract, ContractFactory, JsonRpcProvider, MaxUint256, Wallet, parseEther, solidityPacked } = require('ethers');

const oz = (name) => require(`@openzeppelin/contracts-v4/build/contracts/${name}.json`);
const v3 = (path) => require(`@uniswap/v3-periphery/artifacts/contracts/${path}`);
const safe = (path) => require(`@gnosis.pm/safe-contracts/build/artifacts/contracts/${path}`);

const [, , url, chain] = process.argv;
const KEYS = [
  '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80',
  '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d',
  '0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a',
];
const WETH = '0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2';
const USDC = '0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48';
const V2_ROUTER = '0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D';
const V3_ROUTER = '0xE592427A0AEce92De3Edee1F18E0157C05861564';
const V3_POSITIONS = '0xC36442b4a4522E871399CD717aBDD847Ab11FE88';
const ZERO = '0x0000000000000000000000000000000000000000';
// The gateway looks for a new block five times a second, and nobody signs faster than that.
const BETWEEN = 500;

/** Wallets leave room above an estimate: the state may be another one by then. */
class Careful extends Wallet {
  async estimateGas(transaction) {
    return ((await super.estimateGas(transaction)) * 13n) / 10n;
  }
}

const refused = [];
let passed = 0;

/** One transaction; what comes of it is noted, and an error that is not the gateway's ends everything. */
async function step(name, act) {
  await new Promise((done) => setTimeout(done, BETWEEN));
  try {
    const receipt = await (await act()).wait();
    if (receipt.status !== 1) throw new Error('it reverted');
    passed += 1;
    return receipt;
  } catch (error) {
    const said = error.info?.error ?? error.error;
    if (said?.code !== -32003) throw new Error(`${name}: ${error.message}`);
    refused.push({ step: name, message: said.message, data: said.data });
    return null;
  }
}

async function deploy(name, artifact, wallet, ...parameters) {
  const factory = new ContractFactory(artifact.abi, artifact.bytecode, wallet);
  const receipt = await step(name, async () => (await factory.deploy(...parameters)).deploymentTransaction());
  if (receipt === null) throw new Error(JSON.stringify(refused));
  return new Contract(receipt.contractAddress, artifact.abi, wallet);
}

async function main() {
  const provider = new JsonRpcProvider(url, undefined, { pollingInterval: 50, cacheTimeout: -1 });
  const [ana, bo] = KEYS.slice(0, 2).map((key) => new Careful(key, provider));
  const deadline = Math.floor(Date.now() / 1000) + 86_400;

  await step('ether to a friend', () => ana.sendTransaction({ to: bo.address, value: parseEther('0.1') }));

  const weth = new Contract(WETH, require('@uniswap/v2-periphery/build/WETH9.json').abi, ana);
  await step('wrap', () => weth.deposit({ value: parseEther('0.5') }));
  await step('WETH to a friend', () => weth.transfer(bo.address, parseEther('0.01')));
  await step('unwrap', () => weth.withdraw(parseEther('0.1')));

  const erc20 = oz('ERC20PresetFixedSupply');
  const usdc = new Contract(USDC, erc20.abi, ana);
  await step('USDC to a friend', () => usdc.transfer(bo.address, 25_000_000n));

  const token = await deploy('a token', erc20, ana, 'Plain', 'PLN', parseEther('1000000'), ana.address);
  const tokenAddress = await token.getAddress();
  await step('the token to a friend', () => token.transfer(bo.address, parseEther('100')));

  // Uniswap 2
  const direct = new Careful(KEYS[2], new JsonRpcProvider(chain, undefined, { pollingInterval: 50, cacheTimeout: -1 }));
  const router = new Contract(V2_ROUTER, require('@uniswap/v2-periphery/build/UniswapV2Router02.json').abi, ana);
  await step('the token allowed to Uniswap 2', () => token.approve(V2_ROUTER, parseEther('5000')));
  await step('USDC allowed to Uniswap 2', () => usdc.approve(V2_ROUTER, MaxUint256));
  await step('tokens to a merchant', () => token.transfer(direct.address, parseEther('5000')));
  const fill = async (asset, amount) => {
    await (await asset.connect(direct).approve(V2_ROUTER, amount)).wait();
    const terms = [await asset.getAddress(), amount, 0n, 0n, direct.address, deadline];
    await (await router.connect(direct).addLiquidityETH(...terms, { value: parseEther('5') })).wait();
  };
  await fill(token, parseEther('4000'));
  await fill(usdc, 10_000_000_000n);
  await step('liquidity of the token', () =>
    router.addLiquidityETH(tokenAddress, parseEther('100'), 0n, 0n, ana.address, deadline, { value: parseEther('0.2') }));
  await step('liquidity of USDC', () =>
    router.addLiquidityETH(USDC, 100_000_000n, 0n, 0n, ana.address, deadline, { value: parseEther('0.1') }));
  await step('ether for tokens', () =>
    router.swapExactETHForTokens(1n, [WETH, tokenAddress], ana.address, deadline, { value: parseEther('0.01') }));
  await step('the allowance for Uniswap 2 lowered', () => token.approve(V2_ROUTER, parseEther('50')));
  await step('tokens for ether', () =>
    router.swapExactTokensForETH(parseEther('1'), 1n, [tokenAddress, WETH], ana.address, deadline));
  await step('USDC for tokens', () =>
    router.swapExactTokensForTokens(1_000_000n, 1n, [USDC, WETH, tokenAddress], ana.address, deadline));

  // A market that nobody made before
  const young = await deploy('another token', erc20, ana, 'Young', 'YNG', parseEther('1000000'), ana.address);
  const youngAddress = await young.getAddress();
  await step('the other token allowed to Uniswap 2', () => young.approve(V2_ROUTER, parseEther('1000')));
  await step('first liquidity of a new pair', () =>
    router.addLiquidityETH(youngAddress, parseEther('1000'), 0n, 0n, ana.address, deadline, { value: parseEther('0.2') }));

  // Uniswap 3
  const [token0, token1] = BigInt(tokenAddress) < BigInt(WETH) ? [tokenAddress, WETH] : [WETH, tokenAddress];
  const positions = new Contract(
    V3_POSITIONS, v3('NonfungiblePositionManager.sol/NonfungiblePositionManager.json').abi, ana);
  const even = 2n ** 96n;
  await (await positions.connect(direct).createAndInitializePoolIfNecessary(token0, token1, 3000, even)).wait();
  await (await weth.connect(direct).deposit({ value: parseEther('1') })).wait();
  for (const asset of [token, weth]) {
    await (await asset.connect(direct).approve(V3_POSITIONS, parseEther('5'))).wait();
  }
  const position = {
    token0, token1, fee: 3000, tickLower: -60000, tickUpper: 60000, amount0Desired: parseEther('0.2'),
    amount1Desired: parseEther('0.2'), amount0Min: 0n, amount1Min: 0n, recipient: direct.address, deadline,
  };
  await (await positions.connect(direct).mint(position)).wait();
  const swaps = new Contract(V3_ROUTER, v3('SwapRouter.sol/SwapRouter.json').abi, ana);
  await step('the token allowed to Uniswap 3', () => token.approve(V3_ROUTER, parseEther('5')));
  const swap = {
    tokenIn: tokenAddress, tokenOut: WETH, fee: 3000, recipient: ana.address, deadline,
    amountIn: parseEther('0.01'), amountOutMinimum: 0n, sqrtPriceLimitX96: 0n,
  };
  await step('tokens for WETH', () => swaps.exactInputSingle(swap));
  for (const asset of [token, weth]) {
    await step('a little allowed to Uniswap 3 positions', () => asset.approve(V3_POSITIONS, parseEther('0.1')));
  }
  const own3 = { ...position, amount0Desired: parseEther('0.01'), amount1Desired: parseEther('0.01'), recipient: ana.address };
  await step('a position', () => positions.mint(own3));

  // A collection
  const art = await deploy('a collection', oz('ERC721PresetMinterPauserAutoId'), ana, 'Art', 'ART', 'https://art.example/');
  await step('one of the collection', () => art.mint(ana.address));

  // A Safe of one owner
  const master = await deploy('the Safe', safe('GnosisSafe.sol/GnosisSafe.json'), ana);
  const proxies = await deploy('its factory', safe('proxies/GnosisSafeProxyFactory.sol/GnosisSafeProxyFactory.json'), ana);
  const setup = master.interface.encodeFunctionData('setup', [[ana.address], 1n, ZERO, '0x', ZERO, ZERO, 0n, ZERO]);
  const made = await step('a Safe is made', async () => proxies.createProxy(await master.getAddress(), setup));
  const creation = made.logs.map((log) => proxies.interface.parseLog(log)).find((log) => log?.name === 'ProxyCreation');
  const own = master.attach(creation.args.proxy);
  await step('ether into the Safe', () => ana.sendTransaction({ to: creation.args.proxy, value: parseEther('0.2') }));
  await step('tokens into the Safe', () => token.transfer(creation.args.proxy, parseEther('10')));
  // The sender is an owner: its approval stands in for a signature.
  const approval = solidityPacked(['bytes32', 'bytes32', 'uint8'], [AbiCoder.defaultAbiCoder().encode(['address'], [ana.address]), `0x${'00'.repeat(32)}`, 1]);
  const act = (to, value, data) => own.execTransaction(to, value, data, 0, 0n, 0n, 0n, ZERO, ZERO, approval);
  await step('ether out of the Safe', () => act(bo.address, parseEther('0.1'), '0x'));
  const transfer = token.interface.encodeFunctionData('transfer', [bo.address, parseEther('1')]);
  await step('tokens out of the Safe', () => act(tokenAddress, 0n, transfer));

  process.stdout.write(JSON.stringify({ passed, refused }));
  provider.destroy();
  direct.provider.destroy();
}

main().catch((error) => {
  console.error(error);
  console.error(JSON.stringify(refused, null, 1));
  process.exit(1);
});
