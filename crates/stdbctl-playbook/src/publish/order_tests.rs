use stdbctl_engine::dialogue::Record;

use super::super::wish::{SqlCheck, What};
use super::*;

fn order() -> Order {
    let answers = [("answer:health", "200\n{\"version\":\"2.8.3\"}"), ("answer:database", "404\n")];
    let records =
        answers.map(|(kind, text)| Record { kind: kind.to_owned(), data: text.as_bytes().to_vec() });
    let sql = SqlCheck { query: "select 'it''s'".to_owned(), expect: Some("it's".to_owned()) };
    let wish = Wish {
        name: "game".to_owned(),
        what: What::Rollback { to: None },
        break_clients: false,
        delete_data: false,
        restore_data: false,
        snapshot: true,
        approved: true,
        checks: Checks { reducer: Some("health check/../x".to_owned()), sql: Some(sql) },
    };
    Order::new(&Settings::default(), &wish, &Seen::read(&records).unwrap())
}

#[test]
fn nothing_of_the_operators_is_code_on_the_host() {
    let mut order = order();
    order.operation = Operation::Create;
    let script = order.script("ada'; rm -rf /\n@laptop");
    assert!(script.contains("operator='ada'\\''; rm -rf / @laptop'\n"), "{script}");
    assert!(script.contains("check_reducer=health%20check%2F%2E%2E%2Fx\n"), "{script}");
    assert!(script.contains("check_sql='select '\\''it'\\'''\\''s'\\'''\n"), "{script}");
    assert!(script.contains("put=put_module\n"), "{script}");
}

#[test]
fn a_policy_comes_with_its_token_and_never_without() {
    let mut order = order();
    assert_eq!(order.query(), "");
    order.migration_token = Some("0x12ab".to_owned());
    assert_eq!(order.query(), "&token=0x12ab&policy=BreakClients");
    order.migration_token = Some("0x12&clear=true".to_owned());
    assert_eq!(order.query(), "", "no token looks like this");
    order.clears = true;
    assert_eq!(order.query(), "&clear=true");
}
