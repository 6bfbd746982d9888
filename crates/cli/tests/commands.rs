//! Every command of the binary against a node.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and has files of its own"
)]

mod support;

use serde_json::{Value, json};
use support::{fails, fresh, json, node, ok, ok_with, run, scratch};

#[test]
fn a_topic_is_created_described_altered_and_deleted() {
    let topic = fresh("life");
    ok(&format!("topic create {topic} -p 2 -c retention.ms=3600000"));
    let listed = json(&format!("topic list {topic}"));
    assert_eq!(listed, json!([{"topic": topic, "partitions": 2, "replicas": 1, "state": "ok"}]));
    ok(&format!("topic alter {topic} -p 3 -c cleanup.policy=compact -u retention.ms"));
    let described = json(&format!("topic describe {topic}"));
    assert_eq!(described[0]["settings"], json!({"cleanup.policy": "compact"}));
    assert_eq!(described[0]["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(described[0]["partitions"][2]["end_offset"], 0);
    assert_eq!(fails(&format!("topic create {topic}")).0, 1);
    ok(&format!("topic create {topic} --if-not-exists"));
    ok(&format!("topic delete {topic}"));
    let (code, error) = fails(&format!("topic describe {topic}"));
    assert_eq!(code, 4);
    assert!(error.contains(&format!("there is no topic {topic}; `ottla topic list`")), "{error}");
    assert_eq!(fails(&format!("topic delete {topic}")).0, 4);
    ok(&format!("topic delete {topic} --if-exists"));
}

#[test]
fn a_dry_run_creates_nothing() {
    let topic = fresh("dry");
    assert!(ok(&format!("topic create {topic} -p 2 --dry-run")).contains("would be created"));
    assert_eq!(json(&format!("topic list {topic}")), json!([]));
}

/// Lines of JSON with everything that a record can be.
fn lines() -> String {
    let line = |partition: u32, offset: u32, rest: Value| {
        let mut line =
            json!({"partition": partition, "offset": offset, "timestamp": 1_700_000_000_000_i64});
        line.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        format!("{line}\n")
    };
    let header = |key: Value, value: Value| json!({"key": key, "value": value});
    [
        line(0, 0, json!({"key": "k", "value": "v"})),
        line(0, 1, json!({"key": null, "value": null})),
        line(0, 2, json!({"key": "", "value": {"base64": "/wAB"}})),
        line(
            1,
            0,
            json!({"key": {"base64": "7aCA"}, "value": "ключ\t\n\"", "headers": [
            header(json!("h"), json!("1")), header(json!("h"), Value::Null),
            header(json!({"base64": "/w=="}), json!({"base64": "AP8="}))]}),
        ),
    ]
    .concat()
}

#[test]
fn lines_of_json_come_out_as_they_went_in() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = fresh("lines");
        ok(&format!("topic create {topic} -p 2"));
        ok_with(&format!("topic produce {topic} -i json -z {codec}"), lines().as_bytes());
        assert_eq!(ok(&format!("topic consume {topic} -o json")), lines(), "{codec}");
    }
}

#[test]
fn a_wrong_line_is_named_and_what_stands_before_it_is_not_lost() {
    let topic = fresh("wrong");
    ok(&format!("topic create {topic}"));
    let done =
        run(&["topic", "produce", &topic, "-i", "json"], b"{\"value\":\"1\"}\n{\"value\":2}\n");
    assert_eq!(done.code, 1);
    assert!(done.err.contains("line 2: value: a string, null or"), "{}", done.err);
    assert_eq!(ok(&format!("topic consume {topic} -o json")).lines().count(), 1);
}

#[test]
fn values_keys_and_headers_come_from_the_command_line() {
    let topic = fresh("values");
    ok(&format!("topic create {topic} -p 4"));
    ok(&format!("topic produce {topic} -k a -H kind=new one two"));
    ok_with(&format!("topic produce {topic} -s :"), b"b:three:3\n");
    let out = ok(&format!("topic consume {topic} -o json"));
    let records: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_key = |key: &str| {
        let with_key = records.iter().filter(|record| record["key"] == key);
        with_key.map(|record| record["value"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of_key("a"), ["one", "two"]);
    assert_eq!(of_key("b"), ["three:3"]);
    let first = records.iter().find(|record| record["value"] == "one").unwrap();
    assert_eq!(first["headers"], json!([{"key": "kind", "value": "new"}]));
    // Where Java's producer sends this key in four partitions.
    assert_eq!(first["partition"], 0);
    let (code, error) = fails(&format!("topic produce {topic} -p 9 x"));
    assert_eq!(code, 4);
    assert!(error.contains("has no partition 9; it has 4"), "{error}");
}

#[test]
fn consuming_begins_and_ends_where_it_is_told() {
    let topic = fresh("places");
    ok(&format!("topic create {topic}"));
    let lines: String = (0..10)
        .map(|n| {
            format!("{{\"value\":\"{n}\",\"timestamp\":{}}}\n", 1_600_000_000_000_i64 + n * 1000)
        })
        .collect();
    ok_with(&format!("topic produce {topic} -i json"), lines.as_bytes());
    for (options, want) in [
        ("--from 7", "789"),
        ("--from -2", "89"),
        ("--from latest", ""),
        ("--from 2020-09-13T12:26:48Z", "89"),
        ("--from 3 -n 2", "34"),
        ("--from 100", ""),
        ("-p 0 -n 1", "0"),
    ] {
        let out = ok(&format!("topic consume {topic} -o json {options}"));
        let value = |line| {
            serde_json::from_str::<Value>(line).unwrap()["value"].as_str().unwrap().to_owned()
        };
        let values: String = out.lines().map(value).collect();
        assert_eq!(values, want, "{options}");
    }
}

#[test]
fn tail_prints_the_latest_follows_and_ends_with_a_signal() {
    let topic = fresh("tail");
    ok(&format!("topic create {topic}"));
    ok(&format!("topic produce {topic} 1 2 3"));
    let mut tail = support::start(&format!("topic tail {topic} -n 2 -o json"));
    let value = |line: String| serde_json::from_str::<Value>(&line).unwrap()["value"].clone();
    assert_eq!([value(tail.line()), value(tail.line())], ["2", "3"]);
    ok(&format!("topic produce {topic} 4"));
    assert_eq!(value(tail.line()), "4");
    assert_eq!(tail.interrupt(), 130);
}

#[test]
fn a_member_that_is_interrupted_commits_and_leaves() {
    let (topic, group) = (fresh("leave"), fresh("leavers"));
    ok(&format!("topic create {topic}"));
    ok(&format!("topic produce {topic} 1 2 3"));
    let mut member = support::start(&format!("topic consume {topic} -g {group} --follow -o json"));
    for _ in 0..3 {
        member.line();
    }
    let state = || json(&format!("group describe {group}"))[0].clone();
    assert_eq!(state()["state"], "Stable");
    assert_eq!(state()["members"][0]["partitions"], json!([format!("{topic}:0")]));
    let (code, error) = fails(&format!("group reset {group} -t {topic} --to earliest --execute"));
    assert_eq!(
        (code, error.contains("the group has members; stop them first")),
        (1, true),
        "{error}"
    );
    assert_eq!(member.interrupt(), 130);
    assert_eq!(state()["state"], "Empty");
    assert_eq!(json(&format!("group lag {group}"))[0]["lag"], 0);
}

#[test]
fn lag_is_watched_until_a_signal() {
    let (topic, group) = (fresh("watched"), fresh("watchers"));
    ok(&format!("topic create {topic}"));
    ok(&format!("topic consume {topic} -g {group}"));
    let mut watch = support::start(&format!("group lag {group} --watch --interval 0.05"));
    let head = |lag| format!("Group {group}: Empty, {lag} record(s) behind");
    assert_eq!(watch.line(), head(0));
    ok(&format!("topic produce {topic} 1 2 3"));
    while watch.line() != head(3) {}
    assert_eq!(watch.interrupt(), 130);
}

#[test]
fn a_group_goes_on_where_it_stopped_and_is_reset_and_deleted() {
    let (topic, group) = (fresh("grouped"), fresh("group"));
    ok(&format!("topic create {topic} -p 2"));
    ok(&format!("topic produce {topic} -p 0 1 2 3"));
    ok(&format!("topic produce {topic} -p 1 4 5"));
    let count = |options: &str| {
        ok(&format!("topic consume {topic} -g {group} -o json {options}")).lines().count()
    };
    assert_eq!(count("-n 2"), 2);
    let lag = || json(&format!("group lag {group}"))[0]["lag"].clone();
    assert_eq!(lag(), 3);
    let (code, error) = fails(&format!("group lag {group} --max 2"));
    assert_eq!((code, error.contains("3 records behind, more than 2")), (1, true), "{error}");
    assert_eq!(count(""), 3);
    assert_eq!((lag(), count("")), (json!(0), 0));
    let described = json(&format!("group describe {group}"));
    assert_eq!((&described[0]["state"], &described[0]["members"]), (&json!("Empty"), &json!([])));
    let planned = json(&format!("group reset {group} --to earliest"));
    assert_eq!(
        planned.as_array().unwrap().iter().map(|row| row["to"].as_i64().unwrap()).sum::<i64>(),
        0
    );
    assert_eq!(lag(), 0, "nothing is moved without --execute");
    ok(&format!("group reset {group} --to earliest --execute"));
    assert_eq!(lag(), 5);
    ok(&format!("group reset {group} --to shift:+1 --topic {topic}:0 --execute"));
    assert_eq!(lag(), 4);
    let file = scratch("reset").join("offsets.csv");
    std::fs::write(&file, format!("{topic},0,1\n{topic},1,1\n")).unwrap();
    ok(&format!("group reset {group} --to file:{} --execute", file.display()));
    assert_eq!(lag(), 3);
    ok(&format!("group reset {group} --to duration:PT1H --execute"));
    assert_eq!(lag(), 5);
    ok(&format!("group delete {group}"));
    let (code, error) = fails(&format!("group describe {group}"));
    assert_eq!(code, 4, "{error}");
    assert_eq!(fails(&format!("group delete {group}")).0, 4);
}

#[test]
fn settings_are_listed_set_and_unset() {
    let topic = fresh("settings");
    ok(&format!("topic create {topic}"));
    ok(&format!("config set topic {topic} retention.ms=7200000 max.message.bytes=2000000"));
    let rows = json(&format!("config list topic {topic}"));
    let keys: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["key"].clone()).collect();
    assert_eq!(keys, ["max.message.bytes", "retention.ms"]);
    assert_eq!(json(&format!("config get topic {topic} retention.ms"))[0]["value"], "7200000");
    ok(&format!("config unset topic {topic} retention.ms"));
    let row = json(&format!("config get topic {topic} retention.ms"));
    assert_eq!((&row[0]["value"], &row[0]["source"]), (&json!("604800000"), &json!("default")));
    assert!(json(&format!("config list topic {topic} --all")).as_array().unwrap().len() > 20);
    let (code, error) = fails(&format!("config set topic {topic} no.such=1"));
    assert_eq!(code, 1);
    assert!(error.contains("no.such") && error.contains("(INVALID_CONFIG)"), "{error}");
    assert_eq!(fails(&format!("config get topic {topic} no.such")).0, 4);
    assert!(json("config list broker 1").to_string().contains("listeners"));
    assert_eq!(fails("config list broker 7").0, 4);
}

#[test]
fn quotas_are_set_listed_and_removed() {
    let user = fresh("user");
    ok(&format!("quota set -u {user} -c default producer_byte_rate=1024 request_percentage=50"));
    let listed = || json(&format!("quota list -u {user}"));
    let quotas = json!({"producer_byte_rate": 1024.0, "request_percentage": 50.0});
    assert_eq!(
        listed(),
        json!([{"user": user, "client_id": "default", "ip": null, "quotas": quotas}])
    );
    ok(&format!("quota unset -u {user} -c default producer_byte_rate request_percentage"));
    assert_eq!(listed(), json!([]));
    assert_eq!(fails("quota set producer_byte_rate=1").0, 2);
    assert_eq!(fails(&format!("quota set -u {user} no.such=1")).0, 1);
}

#[test]
fn the_cluster_tells_of_itself() {
    let info = json("cluster info");
    assert_eq!(info["brokers"][0]["broker"], 1);
    assert_eq!(info["quorum"]["members"][0]["role"], "leader");
    assert!(info["features"]["metadata.version"].as_i64().unwrap() >= 7);
    assert_eq!(json("cluster health")["healthy"], true);
    assert!(ok("health").starts_with("serving: 1 broker(s)"));
}

#[test]
fn nobody_there_is_exit_code_3_with_a_next_step() {
    let (code, error) = fails("topic list -b 127.0.0.1:1 --timeout-ms 2000");
    assert_eq!(code, 3);
    assert!(error.contains("cannot reach 127.0.0.1:1"), "{error}");
    assert!(error.contains("`ottla doctor -b 127.0.0.1:1` looks into it"), "{error}");
    assert_eq!(fails("topic list -b nonsense:x").0, 2);
    assert_eq!(fails("topic lsit").0, 2);
    assert_eq!(fails("health -b 127.0.0.1:1").0, 1);
}

#[test]
fn the_doctor_dials_what_is_advertised_and_tries_the_disk() {
    let dir = scratch("doctor");
    let line = format!("doctor --data-dir {} -o json", dir.display());
    let rows: Value = serde_json::from_str(&ok(&line)).unwrap();
    let checks: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["check"].clone()).collect();
    let want =
        ["broker", "advertised", "directory", "fsync", "space", "memory", "open files", "clock"];
    assert_eq!(checks, want);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "nothing is left behind");
    let (code, _) = fails("doctor -b 127.0.0.1:1 --timeout-ms 2000");
    assert_eq!(code, 1);
    let (code, _) = fails(&format!("doctor --local --data-dir {}/none", dir.display()));
    assert_eq!(code, 1);
}

#[test]
fn a_segment_is_dumped_with_its_records_and_damage_is_found() {
    let topic = fresh("dump");
    ok(&format!("topic create {topic}"));
    ok_with(&format!("topic produce {topic} -i json -z lz4"), b"{\"key\":\"k\",\"value\":\"v\"}\n");
    let dir = node().dir.join(format!("{topic}-0"));
    let segment = dir.join("00000000000000000000.log");
    let batch: Value =
        serde_json::from_str(&ok(&format!("log dump {} -o json", segment.display()))).unwrap();
    assert_eq!((&batch["base_offset"], &batch["count"]), (&json!(0), &json!(1)));
    assert_eq!((&batch["compression"], &batch["producer_epoch"]), (&json!("lz4"), &json!(0)));
    let record: Value =
        serde_json::from_str(&ok(&format!("log dump {} -r -o json", segment.display()))).unwrap();
    assert_eq!((&record["key"], &record["value"]), (&json!("k"), &json!("v")));
    assert!(ok(&format!("log dump {}", dir.display())).contains("partition.metadata"));
    let copy = scratch("damage").join("00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&copy, bytes).unwrap();
    let (code, error) = fails(&format!("log dump {}", copy.display()));
    assert_eq!((code, error.contains("CRC")), (1, true), "{error}");
    assert_eq!(fails(&format!("log dump {}/none", dir.display())).0, 4);
}

#[test]
fn the_internal_logs_are_decoded() {
    let (topic, group) = (fresh("decoded"), fresh("decoders"));
    ok(&format!("topic create {topic}"));
    ok(&format!("topic produce {topic} x"));
    ok(&format!("topic consume {topic} -g {group}"));
    let metadata = node().dir.join("__cluster_metadata-0/00000000000000000000.log");
    let out = ok(&format!("log dump {} -r -o json", metadata.display()));
    let records = || out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let named = records().find(|record| record["value"]["data"]["name"] == topic.as_str());
    assert_eq!(named.unwrap()["value"]["type"], "TopicRecord");
    assert!(records().any(|record| record["key"] == "LeaderChange"), "control records are named");
    let all = (0..50).map(|n| node().dir.join(format!("__consumer_offsets-{n}")));
    let all: Vec<_> =
        all.map(|dir| dir.join("00000000000000000000.log").display().to_string()).collect();
    let out = ok(&format!("log dump {} -r -o json", all.join(" ")));
    let records = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut committed = records.filter(|record| {
        record["key"]["type"] == "OffsetCommitKey"
            && record["key"]["data"]["group"] == group.as_str()
    });
    let committed = committed.next_back().unwrap();
    assert_eq!(committed["key"]["data"]["topic"], topic.as_str());
    assert_eq!(committed["value"]["data"]["offset"], 1);
}

#[test]
fn output_that_nobody_reads_any_more_is_no_failure() {
    let topic = fresh("closed");
    ok(&format!("topic create {topic}"));
    let lines = "x\n".repeat(20_000);
    ok_with(&format!("topic produce {topic}"), lines.as_bytes());
    let shell = format!(
        "{} topic consume {topic} -b {} | head -n 1; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_ottla"),
        node().address
    );
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &shell]);
    let done = support::run_command(command, b"");
    assert_eq!(done.out.lines().nth(1), Some("0"), "{}", done.err);
    assert_eq!(done.err, "");
}

#[test]
fn a_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(ok(&format!("completions {shell}")).contains("consume"), "{shell}");
    }
}

#[test]
fn yaml_is_another_form_of_the_same() {
    let topic = fresh("yaml");
    ok(&format!("topic create {topic}"));
    let want = format!("- topic: {topic}\n  partitions: 1\n  replicas: 1\n  state: ok\n");
    assert_eq!(ok(&format!("topic list {topic} -o yaml")), want);
}
