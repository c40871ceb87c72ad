//! What a transaction would do with the money, read from its bytes by other means than the rules.
//!
//! A second reader of the wire format, written from its description: no code of the rules, and none of the crates they
//! read transactions with. It answers one question of a payment the rules let through: does it move the same money
//! as the good one, and does it leave the fee payer alone?

use pay402::chain::solana::rules::LIGHTHOUSE;
use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::kit::COMPUTE_BUDGET;

/// What is known of the good payment.
pub struct Expected {
    pub fee_payer: Pubkey,
    pub mint: Pubkey,
    pub destination: Pubkey,
    pub amount: u64,
    pub decimals: u8,
    /// The most the fee payer may lose.
    pub max_fee_lamports: u64,
}

/// Takes bytes from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    /// Seven bits at a time, the low ones first.
    fn length(&mut self) -> usize {
        let mut length = 0;
        for shift in [0, 7, 14] {
            let byte = self.byte();
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return length;
            }
        }
        panic!("a length of four bytes");
    }

    fn key(&mut self) -> Pubkey {
        Pubkey::try_from(self.take(32)).unwrap()
    }
}

struct Instruction<'a> {
    program: usize,
    accounts: &'a [u8],
    data: &'a [u8],
}

/// Panics when the transaction is anything but the good payment: the same tokens in the same amount to the same
/// account, at the expense of somebody who signed, with the fee payer paying no more than the fee.
pub fn assert_moves_the_same_money(bytes: &[u8], expected: &Expected) {
    assert!(bytes.len() <= 1_232, "a packet");
    let mut reader = Reader(bytes);
    let count = reader.length();
    let signatures: Vec<_> =
        (0..count).map(|_| Signature::from(<[u8; 64]>::try_from(reader.take(64)).unwrap())).collect();
    let message = reader.0;
    let versioned = message[0] & 0x80 != 0;
    if versioned {
        assert_eq!(reader.byte(), 0x80, "version 0");
    }
    let (signers, _, _) = (usize::from(reader.byte()), reader.byte(), reader.byte());
    assert_eq!(signers, count);
    let keys: Vec<_> = (0..reader.length()).map(|_| reader.key()).collect();
    reader.take(32);
    let instructions: Vec<_> = (0..reader.length())
        .map(|_| {
            let program = usize::from(reader.byte());
            let accounts = reader.length();
            let accounts = reader.take(accounts);
            let data = reader.length();
            Instruction { program, accounts, data: reader.take(data) }
        })
        .collect();
    if versioned {
        assert_eq!(reader.length(), 0, "no lookup tables");
    }
    assert!(reader.0.is_empty(), "nothing behind the message");

    assert_eq!(keys[0], expected.fee_payer);
    for (key, signature) in keys.iter().zip(&signatures).skip(1) {
        assert!(signature.verify(key.as_ref(), message), "{key} has signed");
    }
    assert!(!keys[1..].contains(&expected.fee_payer), "the fee payer by a second index");
    let mut transfers = 0;
    let (mut units, mut price) = (None, None);
    for instruction in &instructions {
        assert_ne!(instruction.program, 0, "the fee payer is no program");
        let program = keys[instruction.program];
        let lent = instruction.accounts.contains(&0);
        if program == LIGHTHOUSE {
            assert!(instruction.data[0] >= 2, "an assertion");
            continue;
        }
        assert!(!lent, "the fee payer is lent to {program}");
        if program == COMPUTE_BUDGET {
            let again = match instruction.data {
                [2, limit @ ..] => units.replace(u32::from_le_bytes(*limit.first_chunk().unwrap())).is_some(),
                [3, offer @ ..] => price.replace(u64::from_le_bytes(*offer.first_chunk().unwrap())).is_some(),
                other => panic!("compute budget {other:?}"),
            };
            assert!(!again, "one limit and one price");
        } else if program == spl_token_interface::ID || program == spl_token_2022_interface::ID {
            transfers += 1;
            let account = |position: usize| keys[usize::from(instruction.accounts[position])];
            let mut data = vec![12];
            data.extend(expected.amount.to_le_bytes());
            data.push(expected.decimals);
            assert!(instruction.data.starts_with(&data), "TransferChecked of the amount");
            assert_eq!((account(1), account(2)), (expected.mint, expected.destination));
            assert_ne!(account(0), expected.destination, "from somewhere else");
            assert_ne!(account(3), expected.fee_payer, "by somebody else");
        } else {
            assert_eq!(program, spl_memo_interface::v3::ID, "nothing else runs");
        }
    }
    assert_eq!(transfers, 1, "one transfer");
    let offered = u128::from(units.unwrap()) * u128::from(price.unwrap());
    let fee = 5_000 * count as u128 + offered.div_ceil(1_000_000);
    assert!(fee <= u128::from(expected.max_fee_lamports), "{fee} lamports");
}
