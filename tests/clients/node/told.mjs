// What a buyer has been told.

/** The failure's reason: version 2 has it in a header, version 1 in the body. */
export function reason(response, body) {
    const required = response.headers.get('payment-required');
    if (required) return JSON.parse(Buffer.from(required, 'base64')).error;
    return body.startsWith('{') ? JSON.parse(body).error : undefined;
}

/** Prints the outcome as a line of JSON. */
export async function report(response, receipt) {
    const body = await response.text();
    const error = response.ok ? undefined : reason(response, body);
    console.log(JSON.stringify({ status: response.status, body, receipt, error }));
}
