//! DeleteTopics, by name or id.

use std::collections::BTreeSet;

use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::messages::delete_topics_response::DeletableTopicResult;
use ottla_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, RemoveTopicRecord};
use ottla_protocol::{ErrorCode, Uuid};

use super::{Env, Run};
use crate::command::ApiError;
use crate::image::TopicImage;
use crate::image::convert::text;
use crate::record::VersionedRecord;

impl Run for DeleteTopicsRequest {
    type Response = DeleteTopicsResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, DeleteTopicsResponse) {
        // Before version 6 topics are given by name alone, in a list of their own.
        let by_name = |name| DeleteTopicState { name: Some(name), ..Default::default() };
        let named = self.topic_names.iter().cloned().map(by_name);
        let states: Vec<DeleteTopicState> = self.topics.iter().cloned().chain(named).collect();
        let mut records = Vec::new();
        let mut responses = Vec::new();
        let repeated = repeated(&states);
        let mut answered: BTreeSet<(Option<String>, Uuid)> = BTreeSet::new();
        let mut deleted: BTreeSet<Uuid> = BTreeSet::new();
        for state in &states {
            if !answered.insert(key(state)) {
                continue;
            }
            let found = if self.timeout_ms <= 0 {
                Err(ApiError::code(ErrorCode::RequestTimedOut))
            } else if repeated.contains(&key(state)) {
                Err(invalid("the request names the topic more than once"))
            } else {
                find(env, state).and_then(|topic| {
                    let counted = !deleted.contains(&topic.id);
                    if counted { env.mutate(topic.partition_count()) } else { Ok(()) }?;
                    Ok(topic)
                })
            };
            match found {
                Ok(topic) if deleted.insert(topic.id) => {
                    let record = RemoveTopicRecord { topic_id: topic.id, ..Default::default() };
                    records.push(VersionedRecord::v0(record));
                    responses.push(DeletableTopicResult {
                        name: Some(text(&topic.name)),
                        error_message: None,
                        topic_id: topic.id,
                        ..Default::default()
                    });
                }
                Ok(_) => responses.push(failure(
                    state,
                    &invalid("the request names the topic by name and by id"),
                )),
                Err(error) => responses.push(failure(state, &error)),
            }
        }
        let throttle_time_ms = env.throttle_time_ms();
        (records, DeleteTopicsResponse { responses, throttle_time_ms, ..Default::default() })
    }
}

fn key(state: &DeleteTopicState) -> (Option<String>, Uuid) {
    (state.name.as_ref().map(ToString::to_string), state.topic_id)
}

/// Keys that occur more than once. Entries without name and id are wrong for another reason.
fn repeated(states: &[DeleteTopicState]) -> BTreeSet<(Option<String>, Uuid)> {
    let mut seen = BTreeSet::new();
    let given = states.iter().map(key).filter(|(name, id)| name.is_some() || !id.is_zero());
    given.filter(|key| !seen.insert(key.clone())).collect::<Vec<_>>().into_iter().collect()
}

fn find<'a>(env: &Env<'a, '_>, state: &DeleteTopicState) -> Result<&'a TopicImage, ApiError> {
    match (&state.name, state.topic_id) {
        (Some(_), id) if !id.is_zero() => {
            Err(invalid("a topic is named either by name or by id, not by both"))
        }
        (Some(name), _) => env.image.topic(name).ok_or_else(|| {
            ApiError::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("there is no topic {:?}", &**name),
            )
        }),
        (None, id) if id.is_zero() => {
            Err(invalid("neither the name nor the id of the topic is given"))
        }
        (None, id) => env.image.topic_by_id(id).ok_or_else(|| {
            ApiError::new(ErrorCode::UnknownTopicId, format!("there is no topic with the id {id}"))
        }),
    }
}

fn invalid(message: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, message)
}

fn failure(state: &DeleteTopicState, error: &ApiError) -> DeletableTopicResult {
    DeletableTopicResult {
        name: state.name.clone(),
        topic_id: state.topic_id,
        error_code: error.code.code(),
        error_message: error.text(),
        ..Default::default()
    }
}
