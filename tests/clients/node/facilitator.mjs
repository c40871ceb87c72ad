// The reference facilitator: @x402/svm, in this process.
//
// Argument: JSON {key, rpc}, the fee payer's key in base58. Reads {paymentPayload, paymentRequirements} from stdin, one
// a line, and prints what it says of each: its answer to verify, or {thrown}.

import { createInterface } from 'node:readline';

import { createKeyPairSignerFromBytes, getBase58Encoder } from '@solana/kit';
import { x402Facilitator } from '@x402/core/facilitator';
import { SettlementCache, toFacilitatorSvmSigner } from '@x402/svm';
import { ExactSvmScheme } from '@x402/svm/exact/facilitator';
import { ExactSvmSchemeV1 } from '@x402/svm/exact/v1/facilitator';

// It complains there of each transaction that it cannot decode.
console.error = () => {};

const { key, rpc } = JSON.parse(process.argv[2]);
const keyPair = await createKeyPairSignerFromBytes(getBase58Encoder().encode(key));
const signer = toFacilitatorSvmSigner(keyPair, { defaultRpcUrl: rpc });
const cache = new SettlementCache();
// Limits as this service has them; version 1 knows none.
const limits = { maxComputeUnits: 400_000, maxRequiredSignatures: 2 };
const facilitator = new x402Facilitator()
    .register('solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1', new ExactSvmScheme(signer, cache, limits))
    .registerV1('solana-devnet', new ExactSvmSchemeV1(signer, cache));

for await (const line of createInterface({ input: process.stdin })) {
    const { paymentPayload, paymentRequirements } = JSON.parse(line);
    let told;
    try {
        told = await facilitator.verify(paymentPayload, paymentRequirements);
    } catch (error) {
        told = { thrown: String(error) };
    }
    console.log(JSON.stringify(told));
}
