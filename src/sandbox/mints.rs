//! Mints: the stablecoins the chain starts with, and how others are made.

use solana_instruction::Instruction;
use solana_pubkey::Pubkey;
use solana_system_interface::instruction::create_account;
use spl_token_2022_interface::{
    extension::{ExtensionType, transfer_fee, transfer_hook},
    instruction::{initialize_mint_close_authority, initialize_mint2, initialize_permanent_delegate},
    state::Mint,
};

use super::SandboxError;

/// USDC at its devnet address: SPL Token, 6 decimals.
pub const USDC: Pubkey = Pubkey::from_str_const("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU");
/// USDT: SPL Token, 6 decimals.
pub const USDT: Pubkey = Pubkey::from_str_const("EJwZgeZrdC8TXTQbQBoL6bfuAnFUUy1PVCMB4DYPzVaS");
/// PYUSD at its devnet address: Token-2022, 6 decimals, with the extensions that change how it is transferred.
pub const PYUSD: Pubkey = Pubkey::from_str_const("CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM");

/// Decimals of all three.
pub(super) const STABLECOIN_DECIMALS: u8 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProgram {
    Token,
    Token2022,
}

impl TokenProgram {
    #[must_use]
    pub const fn id(self) -> Pubkey {
        match self {
            Self::Token => spl_token_interface::ID,
            Self::Token2022 => spl_token_2022_interface::ID,
        }
    }
}

/// A fee Token-2022 withholds from each transfer.
#[derive(Clone, Copy, Debug)]
pub struct TransferFee {
    /// Hundredths of a percent.
    pub basis_points: u16,
    /// Atomic units, at most.
    pub maximum: u64,
}

/// A mint to be made by [`create_mint`](super::Sandbox::create_mint). The extensions need Token-2022.
#[derive(Clone, Copy, Debug)]
pub struct MintSpec {
    pub decimals: u8,
    pub program: TokenProgram,
    pub transfer_fee: Option<TransferFee>,
    /// A program every transfer calls.
    pub transfer_hook: Option<Pubkey>,
}

#[derive(Clone, Copy, Debug)]
enum Extension {
    TransferFee(TransferFee),
    /// `None` is a hook whose program is yet to be set, as PYUSD's.
    TransferHook(Option<Pubkey>),
    CloseAuthority,
    PermanentDelegate,
}

impl Extension {
    const fn kind(self) -> ExtensionType {
        match self {
            Self::TransferFee(_) => ExtensionType::TransferFeeConfig,
            Self::TransferHook(_) => ExtensionType::TransferHook,
            Self::CloseAuthority => ExtensionType::MintCloseAuthority,
            Self::PermanentDelegate => ExtensionType::PermanentDelegate,
        }
    }
}

/// What a mint is made of.
pub(super) struct MintLayout {
    decimals: u8,
    program: TokenProgram,
    extensions: Vec<Extension>,
}

impl From<MintSpec> for MintLayout {
    fn from(spec: MintSpec) -> Self {
        let fee = spec.transfer_fee.map(Extension::TransferFee);
        let hook = spec.transfer_hook.map(|program| Extension::TransferHook(Some(program)));
        Self {
            decimals: spec.decimals,
            program: spec.program,
            extensions: fee.into_iter().chain(hook).collect(),
        }
    }
}

impl MintLayout {
    pub fn stablecoin() -> Self {
        Self { decimals: STABLECOIN_DECIMALS, program: TokenProgram::Token, extensions: Vec::new() }
    }

    /// A fee of zero and a hook without a program still make `Transfer` fail and token accounts longer.
    pub fn pyusd() -> Self {
        let no_fee = TransferFee { basis_points: 0, maximum: 0 };
        Self {
            decimals: STABLECOIN_DECIMALS,
            program: TokenProgram::Token2022,
            extensions: vec![
                Extension::CloseAuthority,
                Extension::PermanentDelegate,
                Extension::TransferFee(no_fee),
                Extension::TransferHook(None),
            ],
        }
    }

    /// The instructions that make the mint, paid by `payer`; `rent` is asked for the balance its size needs.
    pub fn instructions(
        &self,
        mint: &Pubkey,
        authority: &Pubkey,
        payer: &Pubkey,
        rent: impl FnOnce(usize) -> u64,
    ) -> Result<Vec<Instruction>, SandboxError> {
        if self.program == TokenProgram::Token && !self.extensions.is_empty() {
            return Err(SandboxError::MintSpec("only Token-2022 has extensions"));
        }
        let kinds: Vec<_> = self.extensions.iter().map(|extension| extension.kind()).collect();
        let space = ExtensionType::try_calculate_account_len::<Mint>(&kinds)
            .map_err(|_| SandboxError::MintSpec("its size cannot be calculated"))?;
        let program = self.program.id();
        let mut instructions = vec![create_account(payer, mint, rent(space), space as u64, &program)];
        for extension in &self.extensions {
            instructions.push(initialize(*extension, &program, mint, authority)?);
        }
        instructions.push(
            initialize_mint2(&program, mint, authority, None, self.decimals)
                .map_err(|_| SandboxError::MintSpec("unknown token program"))?,
        );
        Ok(instructions)
    }
}

fn initialize(
    extension: Extension,
    program: &Pubkey,
    mint: &Pubkey,
    authority: &Pubkey,
) -> Result<Instruction, SandboxError> {
    match extension {
        Extension::TransferFee(fee) => transfer_fee::instruction::initialize_transfer_fee_config(
            program,
            mint,
            Some(authority),
            Some(authority),
            fee.basis_points,
            fee.maximum,
        ),
        Extension::TransferHook(hook) => {
            transfer_hook::instruction::initialize(program, mint, Some(*authority), hook)
        }
        Extension::CloseAuthority => initialize_mint_close_authority(program, mint, Some(authority)),
        Extension::PermanentDelegate => initialize_permanent_delegate(program, mint, authority),
    }
    .map_err(|_| SandboxError::MintSpec("unknown extension"))
}
