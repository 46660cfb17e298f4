//! Tools, and a prompt, that ask their caller for input in rounds before they answer: the modern era's way.

use serde_json::{Map, Value, json};

use super::wire::{No, Outcome};
use super::{Broken, Everything};

/// The prompt that asks back.
pub(super) const PROMPT: &str = "test_input_required_result_prompt";

/// One thing to ask for.
#[derive(Clone, Copy)]
enum Question {
    /// A form with one field, of a JSON type.
    Form { message: &'static str, field: &'static str, kind: &'static str },
    /// A model's answer.
    Sample(&'static str),
    /// The client's roots.
    Roots,
}

/// Who carries the memory between two rounds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// Nobody: what was answered says it all.
    None,
    /// The client, in a state that must come back as it was.
    Client,
}

/// What to do about a question that the client can't answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Incapable {
    Refuse,
    LeaveOut,
}

/// A tool or prompt that asks: its rounds, each a set of questions by their keys.
struct Inquiry {
    name: &'static str,
    memory: Memory,
    incapable: Incapable,
    rounds: &'static [&'static [(&'static str, Question)]],
}

const NAME: Question = Question::Form { message: "Who are you?", field: "name", kind: "string" };
const CONFIRM: Question = Question::Form { message: "Go on?", field: "ok", kind: "boolean" };
const COLOR: Question = Question::Form { message: "Which colour do you like?", field: "color", kind: "string" };
const CONTEXT: Question = Question::Form { message: "What is it about?", field: "context", kind: "string" };
const SAMPLE: Question = Question::Sample("Name a capital.");

const TOOLS: [Inquiry; 9] = [
    Inquiry::plain("test_input_required_result_elicitation", &[&[("user_name", NAME)]]),
    Inquiry::plain("test_input_required_result_sampling", &[&[("sample_request", SAMPLE)]]),
    Inquiry::plain("test_input_required_result_list_roots", &[&[("roots_request", Question::Roots)]]),
    Inquiry::plain("test_streaming_elicitation", &[&[("confirm", CONFIRM)]]),
    Inquiry::with_state("test_input_required_result_request_state", &[&[("confirm", CONFIRM)]]),
    Inquiry::with_state("test_input_required_result_tampered_state", &[&[("confirm", CONFIRM)]]),
    Inquiry::with_state(
        "test_input_required_result_multiple_inputs",
        &[&[("user_name", NAME), ("greeting", SAMPLE), ("client_roots", Question::Roots)]],
    ),
    Inquiry::with_state("test_input_required_result_multi_round", &[&[("step1", NAME)], &[("step2", COLOR)]]),
    Inquiry {
        incapable: Incapable::LeaveOut,
        ..Inquiry::plain(
            "test_input_required_result_capabilities",
            &[&[("elicit_input", NAME), ("sample_input", SAMPLE)]],
        )
    },
];

const ASKING_PROMPT: Inquiry = Inquiry::plain(PROMPT, &[&[("user_context", CONTEXT)]]);

/// The names of the tools here.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TOOLS.iter().map(|tool| tool.name)
}

/// Answers a call of one of the tools here, as far as the client has answered.
pub(super) fn tool(server: &Everything, params: &Value, done: impl Fn(&Value) -> Value) -> Outcome {
    let tool = TOOLS.iter().find(|tool| params["name"] == tool.name).ok_or(No::parameter("no such tool"))?;
    tool.answer(server, params, done)
}

/// Answers the prompt that asks back.
pub(super) fn prompt(server: &Everything, params: &Value, done: impl Fn(&Value) -> Value) -> Outcome {
    ASKING_PROMPT.answer(server, params, done)
}

/// What a client says it can do.
pub(super) fn capabilities(params: &Value) -> &Value {
    &params["_meta"]["io.modelcontextprotocol/clientCapabilities"]
}

impl Question {
    /// The capability that a client needs to answer it.
    fn needs(self) -> &'static str {
        match self {
            Self::Form { .. } => "elicitation",
            Self::Sample(_) => "sampling",
            Self::Roots => "roots",
        }
    }

    fn request(self) -> Value {
        match self {
            Self::Form { message, field, kind } => {
                let schema = json!({"type": "object", "properties": {field: {"type": kind}}, "required": [field]});
                json!({"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}})
            }
            Self::Sample(prompt) => {
                let message = json!({"role": "user", "content": {"type": "text", "text": prompt}});
                json!({"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 50}})
            }
            Self::Roots => json!({"method": "roots/list", "params": {}}),
        }
    }
}

impl Inquiry {
    const fn plain(name: &'static str, rounds: &'static [&'static [(&'static str, Question)]]) -> Self {
        Self { name, memory: Memory::None, incapable: Incapable::Refuse, rounds }
    }

    const fn with_state(name: &'static str, rounds: &'static [&'static [(&'static str, Question)]]) -> Self {
        Self { memory: Memory::Client, ..Self::plain(name, rounds) }
    }

    fn answer(&self, server: &Everything, params: &Value, done: impl Fn(&Value) -> Value) -> Outcome {
        let nothing = Map::new();
        let given = match params.get("inputResponses") {
            None => &nothing,
            Some(Value::Object(given)) => given,
            Some(_) => return Err(No::parameter("`inputResponses` is no object")),
        };
        let round = self.round(server, params)?;
        // Without the state that belongs to them, answers are to no question.
        let heard = !server.is(Broken::LostInput) && (self.memory == Memory::None || round.is_some());
        let round = round.unwrap_or(0);
        let asked = self.questions(round, params)?;
        // Answers to what was not asked are not looked at.
        if !heard || !asked.iter().all(|(key, _)| given.get(*key).is_some_and(Value::is_object)) {
            return Ok(self.ask(server, round, &asked));
        }
        if round + 1 < self.rounds.len() {
            return Ok(self.ask(server, round + 1, &self.questions(round + 1, params)?));
        }
        Ok(done(&Value::Object(given.clone())))
    }

    /// The round that a client's state is of; no client can make one up.
    fn round(&self, server: &Everything, params: &Value) -> Result<Option<usize>, No> {
        let Some(state) = params.get("requestState") else { return Ok(None) };
        let state = state.as_str().ok_or(No::parameter("`requestState` is no text"))?;
        if !server.inner.states.lock().unwrap().remove(state) {
            return Err(No::parameter("this state was not given out here"));
        }
        let round = state.strip_prefix(self.name).and_then(|rest| rest.split('/').nth(1)?.parse().ok());
        round.map(Some).ok_or(No::parameter("this state is of something else"))
    }

    fn questions(&self, round: usize, params: &Value) -> Result<Vec<(&'static str, Question)>, No> {
        let can = |question: Question| capabilities(params).get(question.needs()).is_some();
        let questions = self.rounds[round].iter().copied();
        match self.incapable {
            Incapable::LeaveOut => Ok(questions.filter(|(_, question)| can(*question)).collect()),
            Incapable::Refuse => questions
                .map(
                    |(key, question)| {
                        if can(question) { Ok((key, question)) } else { Err(No::capability(question.needs())) }
                    },
                )
                .collect(),
        }
    }

    fn ask(&self, server: &Everything, round: usize, questions: &[(&'static str, Question)]) -> Value {
        let requests: Map<_, _> =
            questions.iter().map(|(key, question)| ((*key).to_owned(), question.request())).collect();
        let mut result = json!({"resultType": "input_required", "inputRequests": requests});
        if self.memory == Memory::Client {
            let state = format!("{}/{round}/{}", self.name, server.number());
            server.inner.states.lock().unwrap().insert(state.clone());
            result["requestState"] = json!(state);
        }
        result
    }
}
