//! The kinds of payments, each a good one with something done to it.

mod chain;
mod instructions;
mod terms;
mod wire;

use super::draft::{Bend, Stage};

pub struct Kind {
    pub name: &'static str,
    pub bends: &'static [(Stage, Bend)],
}

const fn kind(name: &'static str, bends: &'static [(Stage, Bend)]) -> Kind {
    Kind { name, bends }
}

/// By the files' order, which is roughly the rules'.
pub fn all() -> impl Iterator<Item = &'static Kind> + Clone {
    [terms::KINDS, wire::KINDS, instructions::KINDS, chain::KINDS].into_iter().flatten()
}
