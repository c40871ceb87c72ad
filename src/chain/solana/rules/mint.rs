//! What a mint's Token-2022 extensions do to a payment.
//!
//! Refused: what makes less arrive than was sent (a transfer fee), runs code of the mint's maker (a transfer hook), or
//! stops transfers (non-transferable, paused); and extensions younger than this service, which may do either.
//!
//! Not refused: what leaves the transferred amount alone. A permanent delegate can take tokens back later, as the
//! freeze authority of many stablecoins can stop them: whoever asks for the asset has chosen to trust its issuer.
//! Confidential transfers are other instructions than the one that rule 13 lets through. Interest and scaled amounts
//! are only shown, while x402 counts atomic units. A fee of zero and a hook without a program, as PYUSD has them, do
//! nothing; a fee set now counts two epochs later, and a hook set now makes the transfer fail.

use spl_token_2022_interface::{
    extension::{
        BaseStateWithExtensions, ExtensionType, StateWithExtensions,
        pausable::PausableConfig,
        transfer_fee::{TransferFee, TransferFeeConfig},
        transfer_hook::TransferHook,
    },
    state::Mint,
};

use super::{CheckedPayment, Reason, Refusal, Rules};
use crate::chain::accounts::Account;

type MintState<'a> = StateWithExtensions<'a, Mint>;

impl Rules {
    /// What the mint itself says against the payment; to be asked before every settlement, as a simulation shows
    /// neither a fee nor a hook.
    ///
    /// # Errors
    /// When it is not the mint that the transfer takes it for, or has an extension that is not accepted.
    pub fn check_mint(&self, payment: &CheckedPayment, mint: Option<&Account>) -> Result<(), Refusal> {
        self.judge_mint(payment, mint).map_err(|(reason, text)| {
            Refusal::new(reason, format!("{} {text}", self.name(&payment.mint))).by(payment.payer)
        })
    }

    fn judge_mint(&self, payment: &CheckedPayment, mint: Option<&Account>) -> Result<(), (Reason, String)> {
        let fails = |text: &str| (Reason::SimulationFailed, text.to_owned());
        let mint = mint.ok_or_else(|| fails("does not exist on this network"))?;
        if mint.owner != payment.token_program {
            let text = format!("belongs to {}: transfer it with that program", mint.owner);
            return Err((Reason::SimulationFailed, text));
        }
        let state = MintState::unpack(&mint.data).map_err(|_| fails("is not a mint"))?;
        if state.base.decimals != payment.decimals {
            let text =
                format!("has {} decimals, the transfer counts on {}", state.base.decimals, payment.decimals);
            return Err((Reason::SimulationFailed, text));
        }
        if self.policy.trusted_mints.contains(&payment.mint) {
            return Ok(());
        }
        let extensions = state.get_extension_types().map_err(|_| {
            (Reason::MintMismatch, format!("has an extension unknown to this service: {ALLOW}"))
        })?;
        extensions.into_iter().try_for_each(|extension| check_extension(&state, extension))
    }
}

const ALLOW: &str = "it is not accepted unless the operator allows this mint";

/// An extension that cannot be read is taken for the worst it can be.
fn check_extension(mint: &MintState<'_>, extension: ExtensionType) -> Result<(), (Reason, String)> {
    let (stands_in_the_way, reason, what) = match extension {
        ExtensionType::TransferFeeConfig => {
            (takes_a_fee(mint), Reason::MintMismatch, "withholds a fee from each transfer")
        }
        ExtensionType::TransferHook => {
            (runs_a_hook(mint), Reason::MintMismatch, "runs a program of its issuer at each transfer")
        }
        ExtensionType::NonTransferable => (true, Reason::SimulationFailed, "cannot be transferred"),
        ExtensionType::Pausable => (is_paused(mint), Reason::SimulationFailed, "is paused by its issuer"),
        ExtensionType::MintCloseAuthority
        | ExtensionType::ConfidentialTransferMint
        | ExtensionType::ConfidentialTransferFeeConfig
        | ExtensionType::ConfidentialMintBurn
        | ExtensionType::DefaultAccountState
        | ExtensionType::InterestBearingConfig
        | ExtensionType::PermanentDelegate
        | ExtensionType::MetadataPointer
        | ExtensionType::TokenMetadata
        | ExtensionType::GroupPointer
        | ExtensionType::TokenGroup
        | ExtensionType::GroupMemberPointer
        | ExtensionType::TokenGroupMember
        | ExtensionType::ScaledUiAmount
        | ExtensionType::PermissionedBurn => return Ok(()),
        _ => (true, Reason::MintMismatch, "has an extension that does not belong to a mint"),
    };
    match reason {
        _ if !stands_in_the_way => Ok(()),
        Reason::MintMismatch => Err((reason, format!("{what}: {ALLOW}"))),
        _ => Err((reason, what.to_owned())),
    }
}

fn takes_a_fee(mint: &MintState<'_>) -> bool {
    let takes = |fee: &TransferFee| u16::from(fee.transfer_fee_basis_points) != 0;
    mint.get_extension::<TransferFeeConfig>()
        .map_or(true, |config| takes(&config.older_transfer_fee) || takes(&config.newer_transfer_fee))
}

fn runs_a_hook(mint: &MintState<'_>) -> bool {
    mint.get_extension::<TransferHook>().map_or(true, |hook| hook.program_id.get().is_some())
}

fn is_paused(mint: &MintState<'_>) -> bool {
    mint.get_extension::<PausableConfig>().map_or(true, |pausable| pausable.paused.into())
}
