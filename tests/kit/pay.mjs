// Pays on the sandbox chain with @solana/kit as it is published.
//
// Arguments: the RPC URL, the WebSocket URL and a USDC-like mint with 6 decimals that `sandbox_mintTo` can mint.
// Prints one line of JSON with what it read back.

import assert from 'node:assert/strict';

import {
    address,
    airdropFactory,
    appendTransactionMessageInstructions,
    createSolanaRpc,
    createSolanaRpcSubscriptions,
    createTransactionMessage,
    generateKeyPairSigner,
    getSignatureFromTransaction,
    isSolanaError,
    lamports,
    pipe,
    sendAndConfirmTransactionFactory,
    setTransactionMessageFeePayerSigner,
    setTransactionMessageLifetimeUsingBlockhash,
    signTransactionMessageWithSigners,
    signature,
    SOLANA_ERROR__JSON_RPC__SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE,
} from '@solana/kit';
import { getTransferSolInstruction } from '@solana-program/system';
import {
    findAssociatedTokenPda,
    getCreateAssociatedTokenIdempotentInstruction,
    getTransferCheckedInstruction,
    TOKEN_PROGRAM_ADDRESS,
} from '@solana-program/token';

const [rpcUrl, wsUrl, mintText] = process.argv.slice(2);
const mint = address(mintText);
const commitment = 'confirmed';

const rpc = createSolanaRpc(rpcUrl);
const rpcSubscriptions = createSolanaRpcSubscriptions(wsUrl);
const airdrop = airdropFactory({ rpc, rpcSubscriptions });
const sendAndConfirm = sendAndConfirmTransactionFactory({ rpc, rpcSubscriptions });

async function sign(payer, instructions) {
    const { value: latest } = await rpc.getLatestBlockhash({ commitment }).send();
    return await signTransactionMessageWithSigners(
        pipe(
            createTransactionMessage({ version: 0 }),
            message => setTransactionMessageFeePayerSigner(payer, message),
            message => setTransactionMessageLifetimeUsingBlockhash(latest, message),
            message => appendTransactionMessageInstructions(instructions, message),
        ),
    );
}

async function pay(payer, instructions) {
    const transaction = await sign(payer, instructions);
    await sendAndConfirm(transaction, { commitment });
    const read = await rpc
        .getTransaction(getSignatureFromTransaction(transaction), { commitment, encoding: 'jsonParsed', maxSupportedTransactionVersion: 0 })
        .send();
    assert.equal(read.meta.err, null);
    return read;
}

/** The faucet for tokens has no client of its own. */
async function mintTo(owner, amount) {
    const response = await fetch(rpcUrl, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'sandbox_mintTo', params: [{ mint, owner, amount }] }),
    });
    const { error, result } = await response.json();
    assert.equal(error, undefined);
    const subscription = new AbortController();
    const notifications = await rpcSubscriptions
        .signatureNotifications(signature(result), { commitment })
        .subscribe({ abortSignal: subscription.signal });
    for await (const { value } of notifications) {
        assert.equal(value.err, null);
        subscription.abort();
    }
}

const agent = await generateKeyPairSigner();
const merchant = (await generateKeyPairSigner()).address;

await airdrop({ recipientAddress: agent.address, lamports: lamports(2_000_000_000n), commitment });
assert.equal((await rpc.getBalance(agent.address, { commitment }).send()).value, 2_000_000_000n);

const sol = await pay(agent, [
    getTransferSolInstruction({ source: agent, destination: merchant, amount: lamports(5_000_000n) }),
]);
assert.equal(sol.version, 0);
assert.equal((await rpc.getBalance(merchant, { commitment }).send()).value, 5_000_000n);

await mintTo(agent.address, 1_000_000);
const token = owner => findAssociatedTokenPda({ owner, mint, tokenProgram: TOKEN_PROGRAM_ADDRESS });
const [[source], [destination]] = [await token(agent.address), await token(merchant)];
const usdc = await pay(agent, [
    getCreateAssociatedTokenIdempotentInstruction({ payer: agent, ata: destination, owner: merchant, mint }),
    getTransferCheckedInstruction({ source, mint, destination, authority: agent, amount: 250_000n, decimals: 6 }),
]);
const received = usdc.meta.postTokenBalances.find(balance => balance.owner === merchant);
assert.equal(received.uiTokenAmount.uiAmountString, '0.25');
const balance = await rpc.getTokenAccountBalance(destination, { commitment }).send();
const account = await rpc.getAccountInfo(destination, { commitment, encoding: 'jsonParsed' }).send();
assert.equal(account.value.data.parsed.info.tokenAmount.amount, '250000');

const tooMuch = await sign(agent, [
    getTransferSolInstruction({ source: agent, destination: merchant, amount: lamports(9_000_000_000n) }),
]);
await assert.rejects(
    sendAndConfirm(tooMuch, { commitment }),
    error => isSolanaError(error, SOLANA_ERROR__JSON_RPC__SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE),
);

console.log(JSON.stringify({ merchant, tokens: balance.value.amount, fee: String(sol.meta.fee) }));
