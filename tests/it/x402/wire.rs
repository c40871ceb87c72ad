//! Requests as they arrive.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use pay402::payments::x402::{Malformed, Version, X402Request, is_x402};
use serde_json::{Value, json};

const FEE_PAYER: &str = "FeePayer11111111111111111111111111111111111";
const MERCHANT: &str = "4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T";
const USDC: &str = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU";
const DEVNET: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

fn requirements_v1() -> Value {
    json!({
        "scheme": "exact", "network": "solana-devnet", "maxAmountRequired": "50000",
        "resource": "https://shop.example/cats", "description": "cats", "mimeType": "application/json",
        "outputSchema": {"input": {"type": "http"}}, "payTo": MERCHANT, "maxTimeoutSeconds": 60, "asset": USDC,
        "extra": {"feePayer": FEE_PAYER, "memo": "order 7"},
    })
}

fn payload_v1() -> Value {
    json!({"x402Version": 1, "scheme": "exact", "network": "solana-devnet", "payload": {"transaction": "AQID"}})
}

fn v1() -> Value {
    json!({"x402Version": 1, "paymentPayload": payload_v1(), "paymentRequirements": requirements_v1()})
}

fn requirements_v2() -> Value {
    json!({
        "scheme": "exact", "network": DEVNET, "amount": "50000", "asset": USDC, "payTo": MERCHANT,
        "maxTimeoutSeconds": 60,
        "extra": {
            "feePayer": FEE_PAYER, "memo": "order 7", "recentBlockhash": "x", "lastValidBlockHeight": "7",
        },
    })
}

fn v2() -> Value {
    json!({
        "x402Version": 2,
        "paymentPayload": {
            "x402Version": 2,
            "resource": {"url": "https://shop.example/cats", "description": "cats", "mimeType": "text/html"},
            "accepted": requirements_v2(),
            "payload": {"transaction": "AQID"},
            "extensions": {"bazaar": {}},
        },
        "paymentRequirements": requirements_v2(),
    })
}

/// The form of early clients.
fn header(text: &str) -> Value {
    json!({"x402Version": 1, "paymentHeader": text, "paymentRequirements": requirements_v1()})
}

fn parse(body: &Value) -> Result<X402Request, Malformed> {
    X402Request::parse(body.to_string().as_bytes())
}

#[track_caller]
fn fields(body: &Value) -> Vec<String> {
    parse(body).expect_err("malformed").errors.into_details().into_iter().map(|error| error.field).collect()
}

fn set(mut body: Value, pointer: &str, value: Value) -> Value {
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

fn without(mut body: Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    body
}

#[test]
fn version_1_is_read() {
    let request = parse(&v1()).unwrap();
    assert_eq!(request.version, Version::V1);
    assert_eq!(
        (request.payload.scheme.as_str(), request.payload.network.as_str()),
        ("exact", "solana-devnet")
    );
    assert_eq!(request.payload.transaction, "AQID");
    let requirements = &request.requirements;
    assert_eq!(requirements.amount, 50_000);
    assert_eq!((requirements.asset.as_str(), requirements.pay_to.as_str()), (USDC, MERCHANT));
    assert_eq!(
        (requirements.fee_payer.as_deref(), requirements.memo.as_deref()),
        (Some(FEE_PAYER), Some("order 7"))
    );
    assert_eq!(requirements.resource.as_deref(), Some("https://shop.example/cats"));
    let terms = request.terms();
    assert_eq!((terms.version, terms.amount, terms.transaction), (Version::V1, 50_000, "AQID"));
    assert_eq!((terms.asset, terms.pay_to, terms.memo), (USDC, MERCHANT, Some("order 7")));
}

#[test]
fn version_2_is_read() {
    let request = parse(&v2()).unwrap();
    assert_eq!(request.version, Version::V2);
    assert_eq!((request.payload.scheme.as_str(), request.payload.network.as_str()), ("exact", DEVNET));
    assert_eq!(request.payload.resource.as_deref(), Some("https://shop.example/cats"));
    assert_eq!(request.requirements.resource, None);
    assert_eq!((request.terms().paid.network, request.terms().fee_payer), (DEVNET, Some(FEE_PAYER)));
}

#[test]
fn the_older_form_is_read_as_the_payload_it_holds() {
    let json = payload_v1().to_string();
    for text in [BASE64_STANDARD.encode(&json), BASE64_STANDARD_NO_PAD.encode(&json)] {
        assert_eq!(parse(&header(&text)).unwrap(), parse(&v1()).unwrap());
    }
    let second = BASE64_STANDARD.encode(v2()["paymentPayload"].to_string());
    let body = json!({"paymentHeader": second, "paymentRequirements": requirements_v2()});
    assert_eq!(parse(&body).unwrap(), parse(&v2()).unwrap());
}

#[test]
fn what_is_wrong_in_the_older_form_is_named_in_it() {
    for text in ["!", "", "AQID", &BASE64_STANDARD.encode("{")] {
        assert_eq!(fields(&header(text)), ["paymentHeader"], "{text}");
    }
    assert_eq!(fields(&header(&BASE64_STANDARD.encode("7"))), ["paymentHeader"]);
    let payload = without(payload_v1(), "/scheme").to_string();
    assert_eq!(fields(&header(&BASE64_STANDARD.encode(payload))), ["paymentHeader.scheme"]);
    let mut both = v1();
    both["paymentHeader"] = BASE64_STANDARD.encode(payload_v1().to_string()).into();
    assert_eq!(fields(&both), ["paymentHeader"]);
    assert!(parse(&set(header("!"), "/paymentHeader", json!(null))).is_err());
}

#[test]
fn the_payloads_version_decides() {
    for (top, passes) in [(json!(2), true), (json!(null), true), (json!(9), true), (json!("1"), false)] {
        assert_eq!(parse(&set(v1(), "/x402Version", top)).is_ok(), passes);
    }
    assert_eq!(parse(&without(v1(), "/x402Version")).unwrap().version, Version::V1);
    for wrong in [json!(0), json!(3), json!("1"), json!(1.0), json!(null), json!([1])] {
        assert_eq!(fields(&set(v1(), "/paymentPayload/x402Version", wrong)), ["paymentPayload.x402Version"]);
    }
    // A body of one version that says it is of the other lacks what that one needs.
    let missing = fields(&set(v1(), "/paymentPayload/x402Version", json!(2)));
    assert_eq!(missing, ["paymentPayload.accepted", "paymentRequirements.amount"]);
}

#[test]
fn every_required_field_is_missed_by_name() {
    let requirements = ["scheme", "network", "asset", "payTo"];
    for (body, amount) in [(v1(), "maxAmountRequired"), (v2(), "amount")] {
        for name in requirements.iter().chain(&[amount]) {
            let pointer = format!("/paymentRequirements/{name}");
            let expected = [format!("paymentRequirements.{name}")];
            assert_eq!(fields(&without(body.clone(), &pointer)), expected);
            assert_eq!(fields(&set(body.clone(), &pointer, json!(null))), expected);
            assert_eq!(fields(&set(body.clone(), &pointer, json!({}))), expected);
        }
        for (pointer, expected) in [
            ("/paymentPayload", "paymentPayload"),
            ("/paymentRequirements", "paymentRequirements"),
            ("/paymentPayload/x402Version", "paymentPayload.x402Version"),
            ("/paymentPayload/payload", "paymentPayload.payload"),
            ("/paymentPayload/payload/transaction", "paymentPayload.payload.transaction"),
        ] {
            assert_eq!(fields(&without(body.clone(), pointer)), [expected]);
        }
    }
    for name in ["scheme", "network"] {
        let pointer = format!("/paymentPayload/accepted/{name}");
        assert_eq!(fields(&without(v2(), &pointer)), [format!("paymentPayload.accepted.{name}")]);
        assert_eq!(
            fields(&without(v1(), &format!("/paymentPayload/{name}"))),
            [format!("paymentPayload.{name}")]
        );
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let mut body = v1();
    body["paymentPayload"] = json!({"x402Version": 1, "scheme": 7, "network": "solana-devnet"});
    body["paymentRequirements"] = json!({
        "scheme": "", "network": "solana-devnet", "maxAmountRequired": "1.5", "payTo": "me", "asset": null,
        "extra": [],
    });
    let expected = [
        "paymentPayload.scheme",
        "paymentPayload.payload",
        "paymentRequirements.scheme",
        "paymentRequirements.maxAmountRequired",
        "paymentRequirements.asset",
        "paymentRequirements.payTo",
        "paymentRequirements.extra",
    ];
    assert_eq!(fields(&body), expected);
    let message = parse(&body).unwrap_err().message();
    assert!(expected.iter().all(|field| message.contains(field)), "{message}");
    assert_eq!(fields(&json!({})), ["paymentPayload", "paymentRequirements"]);
    assert_eq!(fields(&json!([])), ["body"]);
}

#[test]
fn null_stands_for_an_absent_field_and_unknown_fields_are_skipped() {
    let mut body = v1();
    for name in ["resource", "description", "mimeType", "outputSchema", "extra"] {
        body["paymentRequirements"][name] = json!(null);
        body["paymentRequirements"]["surprise"] = json!({"deep": [1, 2]});
    }
    body["surprise"] = json!([]);
    body["paymentPayload"]["surprise"] = json!(1);
    body["paymentPayload"]["payload"]["surprise"] = json!("x");
    body["paymentHeader"] = json!(null);
    let request = parse(&body).unwrap();
    assert_eq!((request.requirements.fee_payer, request.requirements.memo), (None, None));
    let mut body = v2();
    for pointer in ["/paymentPayload/resource", "/paymentPayload/extensions", "/paymentRequirements/extra"] {
        *body.pointer_mut(pointer).unwrap() = json!(null);
    }
    body["paymentRequirements"]["resource"] = json!({"url": 7});
    assert_eq!(parse(&body).unwrap().payload.resource, None);
}

#[test]
fn optional_fields_of_a_wrong_kind_are_named() {
    let wrong = |pointer, value| fields(&set(v2(), pointer, value));
    assert_eq!(wrong("/paymentRequirements/extra", json!("x")), ["paymentRequirements.extra"]);
    assert_eq!(wrong("/paymentRequirements/extra/memo", json!(7)), ["paymentRequirements.extra.memo"]);
    let memo = |length| parse(&set(v2(), "/paymentRequirements/extra/memo", json!("m".repeat(length))));
    memo(4096).unwrap();
    let told = memo(4097).unwrap_err().message();
    assert!(told.ends_with("paymentRequirements.extra.memo must be at most 4096 bytes long"), "{told}");
    assert_eq!(wrong("/paymentPayload/resource", json!("x")), ["paymentPayload.resource"]);
    assert_eq!(wrong("/paymentPayload/resource/url", json!(7)), ["paymentPayload.resource.url"]);
    assert_eq!(
        fields(&set(v1(), "/paymentRequirements/resource", json!(7))),
        ["paymentRequirements.resource"]
    );
}

#[test]
fn a_fee_payer_that_is_none_is_the_rules_to_refuse() {
    for value in [json!(7), json!(null), json!({}), json!(true), json!("")] {
        let request = parse(&set(v2(), "/paymentRequirements/extra/feePayer", value)).unwrap();
        assert_eq!(request.requirements.fee_payer, None);
    }
}

#[test]
fn amounts_are_strict() {
    let with = |amount| set(v2(), "/paymentRequirements/amount", amount);
    for (text, units) in [("0", 0), ("1", 1), ("18446744073709551615", u64::MAX)] {
        assert_eq!(parse(&with(json!(text))).unwrap().requirements.amount, units);
    }
    for wrong in [
        json!(50_000),
        json!(""),
        json!(" 1"),
        json!("1 "),
        json!("+1"),
        json!("-1"),
        json!("1.0"),
        json!("1e3"),
        json!("0x10"),
        json!("01"),
        json!("00"),
        json!("1_000"),
        json!("18446744073709551616"),
        json!("١"),
        json!("9".repeat(400)),
        json!(true),
        json!(["1"]),
    ] {
        assert_eq!(fields(&with(wrong.clone())), ["paymentRequirements.amount"], "{wrong}");
    }
}

/// Nothing that decides nothing stands in a good payment's way.
#[test]
fn what_decides_nothing_may_be_anything() {
    for body in [v1(), v2()] {
        let good = parse(&body).unwrap();
        let pointer = "/paymentRequirements/maxTimeoutSeconds";
        for value in [json!(0), json!(-1), json!(1.5), json!("60"), json!(1e300), json!(null), json!({})] {
            assert_eq!(parse(&set(body.clone(), pointer, value)), Ok(good.clone()));
        }
        assert_eq!(parse(&without(body, pointer)), Ok(good));
    }
    for name in ["amount", "asset", "payTo", "maxTimeoutSeconds", "extra"] {
        let pointer = format!("/paymentPayload/accepted/{name}");
        for value in [json!(null), json!(7), json!("x"), json!([])] {
            assert_eq!(parse(&set(v2(), &pointer, value)), parse(&v2()), "{name}");
        }
        assert_eq!(parse(&without(v2(), &pointer)), parse(&v2()), "{name}");
    }
}

#[test]
fn a_resource_may_be_of_any_length() {
    for (body, pointer) in [(v1(), "/paymentRequirements/resource"), (v2(), "/paymentPayload/resource/url")] {
        let with = |resource: &str| parse(&set(body.clone(), pointer, json!(resource))).unwrap();
        for length in [0, 2_048, 2_049, 500_000] {
            let resource = "é".repeat(length);
            let request = with(&resource);
            assert_eq!(request.resource(), Some(resource.as_str()).filter(|resource| !resource.is_empty()));
            // To its last byte.
            for other in [format!("{resource}e"), format!("e{resource}")] {
                assert_ne!(with(&other).fingerprint(), request.fingerprint(), "{length}");
            }
        }
        let absent = parse(&set(body.clone(), pointer, json!(null))).unwrap();
        assert_ne!(with("").fingerprint(), absent.fingerprint());
        for wrong in ["https://shop.example/cats\n", "https://shop.example/\tdogs", "\u{7f}"] {
            assert_eq!(fields(&set(body.clone(), pointer, json!(wrong))), [pointer[1..].replace('/', ".")]);
        }
    }
}

#[test]
fn a_field_named_twice_is_refused() {
    let twice = |body: Value, member: &str, again: &str| {
        let text = body.to_string().replacen(member, &format!("{again},{member}"), 1);
        assert_ne!(text, body.to_string(), "{member} is there");
        X402Request::parse(text.as_bytes()).unwrap_err().message()
    };
    for (member, again) in [
        ("\"amount\":\"50000\"", "\"amount\":\"1\""),
        ("\"payTo\"", "\"payTo\":null"),
        ("\"feePayer\"", "\"feePayer\":\"x\""),
        ("\"transaction\"", "\"transaction\":\"x\""),
        ("\"paymentRequirements\"", "\"paymentRequirements\":{}"),
        ("\"paymentPayload\"", "\"paymentPayload\":{}"),
        ("\"x402Version\"", "\"x402Version\":1"),
        ("\"accepted\"", "\"accepted\":{}"),
        // The same name by another spelling.
        ("\"memo\"", "\"m\\u0065mo\":\"x\""),
    ] {
        let message = twice(v2(), member, again);
        assert!(message.contains("twice") || message.contains("duplicate field"), "{member}: {message}");
    }
}

#[test]
fn another_chains_payment_is_read_so_that_the_rules_can_refuse_it() {
    let mut body = v2();
    for pointer in ["/paymentRequirements", "/paymentPayload/accepted"] {
        body.pointer_mut(pointer).unwrap()["network"] = json!("eip155:8453");
        body.pointer_mut(pointer).unwrap()["asset"] = json!("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
        body.pointer_mut(pointer).unwrap()["payTo"] = json!("0x209693Bc6afc0C5328bA36FaF03C514EF312287C");
    }
    body["paymentPayload"]["payload"] = json!({"signature": "0x", "authorization": {}});
    assert_eq!(parse(&body).unwrap().terms().paid.network, "eip155:8453");
}

#[test]
fn a_malformed_request_still_tells_its_network() {
    let network = |body: &Value| parse(body).unwrap_err().network;
    assert_eq!(network(&without(v1(), "/paymentPayload/scheme")), "solana-devnet");
    assert_eq!(network(&without(v2(), "/paymentPayload/payload")), DEVNET);
    assert_eq!(network(&without(v2(), "/paymentPayload")), DEVNET);
    assert_eq!(network(&json!({"x402Version": 1})), "");
    assert_eq!(X402Request::parse(b"{").unwrap_err().network, "");
}

#[test]
fn x402_bodies_are_told_from_payment_proofs() {
    assert!(is_x402(v1().to_string().as_bytes()) && is_x402(v2().to_string().as_bytes()));
    assert!(is_x402(header("x").to_string().as_bytes()));
    assert!(is_x402(b"{\"x402Version\":null}") && is_x402(b"{\"paymentPayload\":1,\"paymentPayload\":2}"));
    assert!(is_x402(b"{\"x402Version\":1,"), "cut off");
    assert!(!is_x402(b"{\"signature\":\"x\",\"payer\":\"y\"}"));
    assert!(!is_x402(b"{\"resource\":{\"x402Version\":1}}") && !is_x402(b"") && !is_x402(b"[]"));
}

#[test]
fn the_fingerprint_is_of_what_is_asked() {
    let fingerprint = |body: &Value| parse(body).unwrap().requirements.fingerprint();
    let base = fingerprint(&v1());
    assert_eq!(base, fingerprint(&set(v1(), "/paymentRequirements/description", json!("dogs"))));
    for (name, value) in [
        ("maxAmountRequired", json!("50001")),
        ("payTo", json!(USDC)),
        ("asset", json!(MERCHANT)),
        ("resource", json!("https://shop.example/dogs")),
        ("network", json!("solana")),
        ("extra", json!({"feePayer": FEE_PAYER})),
        ("extra", json!({"memo": "order 7"})),
    ] {
        let changed = fingerprint(&set(v1(), &format!("/paymentRequirements/{name}"), value));
        assert_ne!(base, changed, "{name}");
    }
}
