//! The reference facilitator and this service judge the same payments: good ones, and every kind of bad one.
//!
//! `kinds` says what is made of a good payment, `draft` makes it, `reference` asks the other one. They must agree on
//! the verdict and on its reason; where this service has chosen otherwise, `choices` has the case with its why.

mod choices;
mod draft;
mod kinds;
mod reference;
mod scene;

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use pay402::{
    chain::solana::rules::{LIGHTHOUSE, Version},
    sandbox::USDC,
};

use self::{
    choices::{CHOICES, Choice},
    draft::Draft,
    kinds::Kind,
    reference::Verdict,
    scene::Scene,
};
use crate::{
    harness::{rounds, seed},
    settlement::random::Random,
    x402::mutations::{helper, mutants},
};

/// How often each kind is tried in each version of x402.
const ROUNDS: usize = 1;

/// How many mutants are tried in each version of x402.
const MUTANTS: usize = 100;

/// A payment to be judged, and how it came to be.
struct Sample {
    version: Version,
    kinds: Vec<&'static Kind>,
    payload: serde_json::Value,
    requirements: serde_json::Value,
    by_header: bool,
}

impl Sample {
    fn of(scene: &Scene, version: Version, kinds: Vec<&'static Kind>, random: &mut Random) -> Self {
        let draft = Draft::of(scene, version, &kinds, random);
        Self::with(&draft, kinds, random)
    }

    fn with(draft: &Draft<'_>, kinds: Vec<&'static Kind>, random: &mut Random) -> Self {
        let (version, by_header) = (draft.case.version, random.percent(10));
        let (payload, requirements) = (draft.payload.clone(), draft.requirements.clone());
        Self { version, kinds, payload, requirements, by_header }
    }

    fn name(&self) -> String {
        let names: Vec<_> = self.kinds.iter().map(|kind| kind.name).collect();
        format!("{} in {:?}", names.join(" and "), self.version)
    }

    fn has_guards(&self) -> bool {
        let text = self.payload["payload"]["transaction"].as_str().unwrap();
        let bytes = BASE64_STANDARD.decode(text).unwrap();
        bytes.windows(32).any(|key| key == LIGHTHOUSE.as_ref())
    }

    /// The choice that explains a difference, where one does.
    fn choice(&self, ours: &Verdict, theirs: &Verdict) -> Option<(&'static Kind, &'static Choice)> {
        let [kind] = self.kinds[..] else { return None };
        let choice = CHOICES.iter().find(|choice| choice.explains(kind, self.version, ours, theirs))?;
        Some((kind, choice))
    }
}

/// Every kind in both versions, and pairs of those that the two facilitators agree on: which of two rules comes first is
/// part of the verdict.
fn samples(scene: &Scene, random: &mut Random) -> Vec<Sample> {
    let disputed: BTreeSet<&str> = CHOICES.iter().flat_map(|choice| choice.kinds).copied().collect();
    let agreed = |kind: &Kind| !disputed.contains(kind.name);
    let mut samples = Vec::new();
    for _ in 0..rounds(ROUNDS) {
        for version in Version::ALL {
            for kind in kinds::all() {
                samples.push(Sample::of(scene, version, vec![kind], random));
            }
            for (first, second) in kinds::pairs(random, agreed) {
                samples.push(Sample::of(scene, version, vec![first, second], random));
            }
        }
    }
    samples
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_facilitator_agrees_but_where_it_is_said() {
    let scene = Scene::set().await;
    let mut random = Random::new(seed());
    let samples = samples(&scene, &mut random);
    let theirs = reference::judge(&scene, &samples).await;
    let (mut differences, mut explained) = (Vec::new(), BTreeSet::new());
    let (mut valid, mut reasons) = (0, BTreeSet::new());
    for (sample, theirs) in samples.iter().zip(&theirs) {
        let (ours, message) = scene.judge(sample).await;
        valid += u32::from(ours.is_valid());
        reasons.insert(ours.to_string());
        if ours == *theirs {
            continue;
        }
        match sample.choice(&ours, theirs) {
            Some((kind, choice)) => drop(explained.insert((kind.name, choice.why))),
            None => differences.push(format!("{}: ours {ours} ({message}), theirs {theirs}", sample.name())),
        }
    }
    println!("seed {}: {} payments, {valid} good, {} answers", seed(), samples.len(), reasons.len());
    assert!(
        differences.is_empty(),
        "seed {}, {} of them:\n{}",
        seed(),
        differences.len(),
        differences.join("\n")
    );
    for (kind, why) in &explained {
        println!("{kind}: {why}");
    }
    let claimed = CHOICES.iter().flat_map(|choice| choice.kinds.iter().map(|kind| (*kind, choice.why)));
    let stale: Vec<_> = claimed.filter(|claim| !explained.contains(claim)).collect();
    assert!(stale.is_empty(), "choices that explain nothing any more: {stale:?}");
    assert!(valid > 20 && reasons.len() > 25, "{valid} good, {reasons:?}");
}

/// The documentation has some of them, in the same words.
#[test]
fn choices_are_documented_as_they_are() {
    let document = include_str!("../../../../docs/x402-clients.md");
    let (_, section) = document.split_once("## Where the verdict is another").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")).skip(1);
    let mut documented = BTreeSet::new();
    for row in rows {
        let [kind, _, why] = row.split(" | ").collect::<Vec<_>>()[..] else { panic!("{row}") };
        let is_so = CHOICES.iter().any(|choice| choice.kinds.contains(&kind) && choice.why == why);
        assert!(is_so, "{row}");
        documented.insert(kind);
    }
    for kind in [
        "nothing for nothing",
        "more than the books can hold",
        "base64 without padding",
        "trailing bytes",
        "to oneself",
        "the recipient's own money",
    ] {
        assert!(documented.contains(kind), "{kind}");
    }
}

/// Mutants break several rules at a time, of which each facilitator may name another. But what is good for us is good for
/// the reference, guards apart, and what is good for it alone is refused for something that `choices` has.
#[tokio::test(flavor = "multi_thread")]
async fn a_mutant_is_not_let_through_by_this_service_alone() {
    let scene = Scene::set().await;
    let mut random = Random::new(seed());
    let mut samples = Vec::new();
    for version in Version::ALL {
        let mut draft = Draft::of(&scene, version, &[], &mut random);
        (draft.case.mint, draft.case.program) = (USDC, spl_token_interface::ID);
        draft.case.others.push(helper());
        let mutants: Vec<_> = mutants(&draft.case, random.next()).take(rounds(MUTANTS)).collect();
        for bytes in mutants {
            draft = draft.carrying(bytes);
            samples.push(Sample::with(&draft, Vec::new(), &mut random));
        }
    }
    let theirs = reference::judge(&scene, &samples).await;
    let (mut good, mut ours_alone, mut theirs_alone) = (0, 0, 0);
    for (sample, theirs) in samples.iter().zip(&theirs) {
        let (ours, message) = scene.judge(sample).await;
        let told =
            || format!("seed {}: ours {ours} ({message}), theirs {theirs}: {}", seed(), sample.payload);
        match (ours.is_valid(), theirs.is_valid()) {
            (true, true) => {
                assert_eq!(ours, *theirs, "{}", told());
                good += 1;
            }
            (true, false) => {
                assert!(sample.has_guards(), "{}", told());
                ours_alone += 1;
            }
            (false, true) => {
                assert!(CHOICES.iter().any(|choice| choice.is_stricter(&ours)), "{}", told());
                theirs_alone += 1;
            }
            (false, false) => {}
        }
    }
    println!(
        "{} mutants, {good} good, {ours_alone} by us alone, {theirs_alone} by the other alone",
        samples.len()
    );
    assert!(good > 3, "{good} good ones");
}
