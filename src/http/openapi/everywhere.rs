//! What follows from an operation's shape: the answers and headers that no handler has to write down.

use std::collections::BTreeSet;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, Content, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder, Type,
        path::{Operation, Parameter, ParameterIn},
        schema::{Object, ObjectBuilder},
    },
};

use crate::http::error::Envelope;

const REQUEST_ID: &str = "X-Request-Id";
const RATE_LIMITS: [&str; 3] = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"];
const RETRY_AFTER: &str = "Retry-After";
const REPLAYED: &str = "Idempotent-Replayed";
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// When an operation can give one of the errors below.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    Keyed,
    Body,
    NamedInPath,
    IdempotencyKey,
}

struct Problem {
    status: &'static str,
    name: &'static str,
    when: When,
    description: &'static str,
    /// Headers besides those that every answer has.
    headers: &'static [&'static str],
}

const PROBLEMS: [Problem; 12] = [
    problem("400", "Malformed", When::Always, "Cannot be read: `details` names every bad field.", &[]),
    problem("401", "Unauthorized", When::Keyed, "The key is missing or not valid.", &["WWW-Authenticate"]),
    problem("403", "Forbidden", When::Keyed, "`INSUFFICIENT_SCOPE`: the key may not do this.", &[]),
    problem("404", "NotFound", When::NamedInPath, "There is no such object, or it is somebody else's.", &[]),
    problem("408", "BodyTimeout", When::Body, "The body did not arrive within 10 seconds.", &[]),
    problem(
        "409",
        "IdempotencyConflict",
        When::IdempotencyKey,
        "The `Idempotency-Key` was used for another request, or the same request is being handled: then with \
         `Retry-After`.",
        &[RETRY_AFTER],
    ),
    problem("413", "BodyTooLarge", When::Body, "The body is larger than 1 MiB.", &[]),
    problem("415", "UnsupportedMediaType", When::Body, "The body was not sent as `application/json`.", &[]),
    problem(
        "429",
        "RateLimited",
        When::Always,
        "Too many requests: wait `Retry-After` seconds.",
        &[RETRY_AFTER],
    ),
    problem("431", "HeadTooLarge", When::Always, "The request's head is too large.", &[]),
    problem("500", "InternalError", When::Always, "Something went wrong on our side.", &[]),
    problem(
        "503",
        "Unavailable",
        When::Always,
        "Could not be done now, which says nothing about the request: send it again after `Retry-After` seconds.",
        &[RETRY_AFTER],
    ),
];

const fn problem(
    status: &'static str,
    name: &'static str,
    when: When,
    description: &'static str,
    headers: &'static [&'static str],
) -> Problem {
    Problem { status, name, when, description, headers }
}

/// Headers and errors, to be referred to by the operations.
pub(super) fn add_components(components: &mut Components) {
    let seconds =
        || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(utoipa::Number::Int(0))).build();
    let text = || Object::with_type(Type::String);
    let headers = [
        (REQUEST_ID, "Names the request in the log; also `requestId` of an error.", text()),
        (RATE_LIMITS[0], "How many requests a minute are allowed.", seconds()),
        (RATE_LIMITS[1], "How many of them are left.", seconds()),
        (RATE_LIMITS[2], "Seconds until all of them are back.", seconds()),
        (RETRY_AFTER, "Seconds after which to try again.", seconds()),
        (REPLAYED, "`true`: the answer of the first time, given again.", text()),
        ("WWW-Authenticate", "`Bearer`.", text()),
    ];
    for (name, description, schema) in headers {
        let header = HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build();
        components.headers.insert(name.to_owned(), header.into());
    }
    for problem in &PROBLEMS {
        let content = Content::new(Some(Ref::from_schema_name("Error")));
        let response = ResponseBuilder::new().description(problem.description);
        let mut response = response.content("application/json", content).build();
        add_headers(&mut response, problem.headers);
        components.responses.insert(problem.name.to_owned(), response.into());
    }
    let mut schemas = vec![(Envelope::name().into_owned(), Envelope::schema())];
    Envelope::schemas(&mut schemas);
    components.schemas.extend(schemas);
}

fn add_headers(response: &mut Response, own: &[&str]) {
    for name in [REQUEST_ID].iter().chain(&RATE_LIMITS).chain(own) {
        let header = Ref::new(format!("#/components/headers/{name}"));
        response.headers.insert((*name).to_owned(), RefOr::Ref(header));
    }
}

pub(super) fn complete(operation: &mut Operation) {
    let scopes = scopes(operation);
    if let Some(scopes) = &scopes
        && !scopes.is_empty()
    {
        let names = scopes.iter().map(|scope| format!("`{scope}`")).collect::<Vec<_>>().join(", ");
        let said = operation.description.take().unwrap_or_default();
        operation.description = Some(format!("{said}\n\nA key needs the scope {names}.").trim().to_owned());
    }
    let parameters: Vec<&Parameter> = operation.parameters.iter().flatten().filter_map(inline).collect();
    let body = operation.request_body.is_some();
    let once = parameters.iter().any(|parameter| parameter.name == IDEMPOTENCY_KEY);
    let in_path = parameters.iter().any(|parameter| parameter.parameter_in == ParameterIn::Path);
    let applies = |when| match when {
        When::Always => true,
        When::Keyed => scopes.is_some(),
        When::Body => body,
        When::NamedInPath => in_path,
        When::IdempotencyKey => once,
    };
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            add_headers(response, if once { &[REPLAYED] } else { &[] });
        }
    }
    for problem in PROBLEMS.iter().filter(|problem| applies(problem.when)) {
        let reference = Ref::new(format!("#/components/responses/{}", problem.name));
        let responses = &mut operation.responses.responses;
        responses.entry(problem.status.to_owned()).or_insert(RefOr::Ref(reference));
    }
}

fn inline(parameter: &RefOr<Parameter>) -> Option<&Parameter> {
    match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    }
}

/// The scopes of the operation's keys; `None` where it takes no key.
fn scopes(operation: &Operation) -> Option<BTreeSet<String>> {
    let security = serde_json::to_value(operation.security.as_ref()?).ok()?;
    let choices = security.as_array()?.iter().filter_map(serde_json::Value::as_object);
    let lists: Vec<_> = choices.flat_map(serde_json::Map::values).collect();
    if lists.is_empty() {
        return None;
    }
    let names = lists.into_iter().filter_map(serde_json::Value::as_array).flatten();
    Some(names.filter_map(serde_json::Value::as_str).map(str::to_owned).collect())
}
