-- Payments that the service makes final itself, and what their fees cost it.

-- The books take in what is under way.
ALTER TABLE transactions
    DROP CONSTRAINT transactions_state_check,
    ALTER COLUMN nonce DROP NOT NULL,
    -- Null where the asset is no currency that the service knows.
    ALTER COLUMN currency DROP NOT NULL,
    ALTER COLUMN slot DROP NOT NULL,
    ALTER COLUMN block_time_ms DROP NOT NULL,
    -- How it came here: shown by a proof, or settled by the service.
    ADD COLUMN source TEXT NOT NULL DEFAULT 'proof' CHECK (source IN ('proof', 'x402')),
    -- The mint.
    ADD COLUMN asset TEXT,
    -- It cannot land in a block higher than this.
    ADD COLUMN last_valid_height BIGINT CHECK (last_valid_height >= 0),
    ADD CONSTRAINT transactions_state_check CHECK (state IN ('pending', 'settled', 'failed', 'expired')),
    ADD CONSTRAINT transactions_proof_check CHECK (source <> 'proof' OR (state = 'settled' AND nonce IS NOT NULL
        AND currency IS NOT NULL AND slot IS NOT NULL AND block_time_ms IS NOT NULL)),
    ADD CONSTRAINT transactions_x402_check CHECK (source <> 'x402' OR (nonce IS NULL AND asset IS NOT NULL
        AND last_valid_height IS NOT NULL AND (slot IS NOT NULL) = (state IN ('settled', 'failed'))));

CREATE TABLE settlements (
    -- SHA-256 of the transaction's message.
    message            BYTEA  NOT NULL PRIMARY KEY CHECK (length(message) = 32),
    -- Digest of the requirements it is settled for.
    terms              BYTEA  NOT NULL CHECK (length(terms) = 32),
    state              TEXT   NOT NULL CHECK (state IN ('claimed', 'pending', 'settled', 'failed', 'expired')),
    -- Whose work it is; another instance may take it over when the lease has run out.
    holder             TEXT   COLLATE "C" NOT NULL,
    attempt            TEXT   COLLATE "C" NOT NULL,
    lease_until_ms     BIGINT NOT NULL,
    claimed_at_ms      BIGINT NOT NULL,
    -- From the journal entry on.
    payment_id         TEXT   COLLATE "C" UNIQUE REFERENCES transactions (id),
    signature          TEXT   COLLATE "C" UNIQUE,
    fee_payer          TEXT,
    x402_version       BIGINT,
    last_valid_height  BIGINT CHECK (last_valid_height >= 0),
    key_id             TEXT   COLLATE "C",
    -- The most that the fee can be.
    fee_lamports       BIGINT CHECK (fee_lamports >= 0),
    journalled_at_ms   BIGINT,
    -- As it is sent; kept for as long as it may have to be.
    bytes              BYTEA,
    -- The chain's words.
    failure            TEXT,
    finished_at_ms     BIGINT,
    CHECK ((state = 'claimed') = (payment_id IS NULL)),
    CHECK ((payment_id IS NULL) = (signature IS NULL) AND (payment_id IS NULL) = (last_valid_height IS NULL)
        AND (payment_id IS NULL) = (fee_lamports IS NULL) AND (payment_id IS NULL) = (journalled_at_ms IS NULL)),
    CHECK ((state = 'pending') = (bytes IS NOT NULL)),
    CHECK ((state IN ('claimed', 'pending')) = (finished_at_ms IS NULL)),
    CHECK ((state = 'failed') = (failure IS NOT NULL))
);

-- What may have been left behind.
CREATE INDEX settlements_pending ON settlements (lease_until_ms) WHERE state = 'pending';
CREATE INDEX settlements_claimed ON settlements (lease_until_ms) WHERE state = 'claimed';

-- Transaction fees of a UTC day, by the day they were reserved on. Key '' is all together.
CREATE TABLE sponsored_lamports (
    day       BIGINT NOT NULL,
    key_id    TEXT   COLLATE "C" NOT NULL,
    reserved  BIGINT NOT NULL CHECK (reserved >= 0),
    spent     BIGINT NOT NULL CHECK (spent >= 0),
    PRIMARY KEY (day, key_id)
);
