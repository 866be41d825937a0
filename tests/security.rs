//! The sentences of SECURITY.md, each shown: nothing that one user's process wrote decides where another user, or root,
//! writes.
//!
//! Each test has a `/dev/shm` of its own (`unshare --mount`) and three users: root, 65533 and 65534. Where that cannot
//! be had it says so.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Folder, cli, library, skip};

const CONF: &str = "prof:true,lg_prof_sample:17,prof_final:true,prof_min_seconds:0,prof_min_bytes:0";

/// What every script begins with: a tapped program as a user, and waiting for what it does.
const PRELUDE: &str = r#"
set -u; trap 'kill -9 $holder 2>/dev/null' EXIT
mount -t tmpfs tmpfs /dev/shm && chmod 1777 /dev/shm || exit 77
as() { user=$1; shift; setpriv --reuid "$user" --regid "$user" --clear-groups "$@"; }
# holder USER DUMPS WORDS…: starts it in the background; its pid is $holder, what it says in $W/said.
holder() {
    user=$1; dumps=$2; shift 2
    : >"$W/said" >"$W/told"
    setpriv --reuid "$user" --regid "$user" --clear-groups env MALLOC_CONF="$CONF,prof_prefix:$dumps/jeprof" \
        LD_PRELOAD="$TAP" "$W/holder" "$@" >"$W/said" 2>"$W/told" &
    holder=$!
}
until_so() { for n in $(seq 1800); do eval "$1" && return; sleep 0.1; done; echo "never: $1"; exit 1; }
noted() { until_so "grep -q 'profiling pid' '$W/told'"; }
# adopted CONDITION: the holder that has just started writes what a dead one left, which it does behind its note.
adopted() { noted; until_so "$1"; killed; }
# looked: it has started, and has had the time to look for the dead; nothing tells that it found none.
looked() { noted; sleep 1; killed; }
killed() { kill -9 "$holder"; wait "$holder" 2>/dev/null; true; }
expect() { eval "$1" || { echo "not so: $1"; exit 1; }; }
"#;

/// A folder that every user can enter, with the tap, the CLI and the program in it.
struct Stage {
    folder: Folder,
}

impl Stage {
    /// `None`: this machine or user does not allow it.
    fn new(name: &str) -> Option<Stage> {
        let probe = Command::new("unshare")
            .args(["--mount", "sh", "-c"])
            .arg("mount -t tmpfs none /dev/shm && setpriv --reuid 65534 --regid 65534 --clear-groups true")
            .output();
        if !probe.is_ok_and(|output| output.status.success()) {
            skip(&format!("{name}: only root with mount namespaces can show it"));
            return None;
        }
        let folder = Folder::new(name);
        let place = |file: &str| folder.path().join(file);
        fs::copy(library(), place("libheaptap.so")).unwrap();
        fs::copy(cli(), place("heaptap")).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/holder.c");
        let built = Command::new("gcc").args(["-O1", "-g", "-o"]).args([place("holder"), source]).status();
        assert!(built.unwrap().success());
        Some(Stage { folder })
    }

    /// Runs a script, which must end with 0.
    fn run(&self, script: &str) -> String {
        let path = |file: &str| self.folder.path().join(file);
        let output: Output = Command::new("unshare")
            .args(["--mount", "bash", "-c"])
            .arg(format!("{PRELUDE}{script}"))
            .env("W", self.folder.path())
            .env("TAP", path("libheaptap.so"))
            .env("HT", path("heaptap"))
            .env("CONF", CONF)
            .env_remove("LD_PRELOAD")
            .env_remove("HEAPTAP_DIR")
            .env_remove("TMPDIR")
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{}\n{said}", output.status);
        said
    }

    /// A folder of dumps of that user, with that mode.
    fn dumps(&self, name: &str, user: u32, mode: &str) -> PathBuf {
        let path = self.folder.subfolder(name);
        let folder = path.to_str().unwrap();
        assert!(Command::new("chown").args([&format!("{user}:{user}"), folder]).status().unwrap().success());
        assert!(Command::new("chmod").args([mode, folder]).status().unwrap().success());
        path
    }
}

#[test]
fn only_the_owner_enters_the_directory_and_the_claim_is_not_written_again() {
    let Some(stage) = Stage::new("modes") else { return };
    stage.dumps("dumps", 65534, "700");
    stage.run(
        r#"
        holder 65534 "$W/dumps" 1000000; noted
        expect '[ "$(stat -c "%a %u" /dev/shm/heaptap-65534)" = "700 65534" ]'
        cd /dev/shm/heaptap-65534
        expect '[ "$(stat -c "%a %u %h" *.claim)" = "400 65534 1" ]'
        expect '[ "$(stat -c "%a %u" *.region)" = "400 65534" ]'
        expect '[ "$(stat -c "%a %u" *.control)" = "600 65534" ]'
        expect 'grep -q "^prefix: $W/dumps/jeprof$" *.claim'
        expect '! grep -q "\.claim" /proc/$holder/maps'
        inode=$(stat -c %i *.claim); before=$(cat *.claim)
        "$HT" reset $holder; "$HT" dump $holder >/dev/null
        expect '[ "$(stat -c %i *.claim)" = $inode ] && [ "$(cat *.claim)" = "$before" ]'
        killed"#,
    );
}

#[test]
fn root_recovers_another_users_life_only_as_that_user() {
    let Some(stage) = Stage::new("recover") else { return };
    stage.dumps("secret", 0, "700");
    stage.dumps("dumps", 65534, "700");
    stage.dumps("mine", 0, "700");
    let told = stage.run(
        r#"
        holder 65534 "$W/secret" 1000000; noted; killed
        "$HT" recover; expect '[ $? = 0 ] && [ -z "$(ls "$W/secret")" ]'
        "$HT" recover --all-users; expect '[ $? = 2 ] && [ -z "$(ls "$W/secret")" ]'
        "$HT" recover $holder; expect '[ $? = 2 ] && [ -z "$(ls "$W/secret")" ]'
        expect '[ -f /dev/shm/heaptap-65534/$holder.*.region ]'
        "$HT" recover -o "$W/mine" $holder; expect '[ $? = 0 ]'
        expect '[ "$(stat -c %u "$W"/mine/jeprof.$holder.0.f.heap)" = 0 ]'
        expect '[ -z "$(ls /dev/shm/heaptap-65534)" ]'
        holder 65534 "$W/dumps" 1000000; noted; killed
        "$HT" recover --all-users; expect '[ $? = 0 ]'
        expect '[ "$(stat -c "%u %g" "$W"/dumps/jeprof.$holder.0.f.heap)" = "65534 65534" ]'
        expect '[ -z "$(ls /dev/shm/heaptap-65534)" ] && ! ls "$W"/dumps/*.live 2>/dev/null'"#,
    );
    assert!(told.contains("of other users are left; --all-users"), "{told}");
}

#[test]
fn a_process_that_gives_up_root_cannot_write_to_roots_region_any_more() {
    let Some(stage) = Stage::new("drop") else { return };
    stage.dumps("dumps", 0, "777");
    stage.dumps("others", 0, "777");
    stage.run(
        r#"
        # 100 MB as root: worth a dump of its own.
        holder 0 "$W/dumps" 100000000 65534
        until_so 'ls /dev/shm/heaptap-65534/$holder.*.region 2>/dev/null >&2'
        until_so '[ "$(head -2 "$W/said" | tr "\n" " ")" = "before: 1 after: 0 " ]'
        left=$(cd /dev/shm/heaptap-0; ls $holder.*.claim); left=${left%.claim}
        expect '! grep -q "$left" /proc/$holder/maps'
        until_so 'grep -Eq "$holder +(65534|nobody) +alive" <<<"$("$HT" ps)"'
        # 95.4 MiB, and eight standard deviations.
        expect 'grep -Eq "$holder +(0|root) +left +(8|9|10|11)[0-9]\.?[0-9]* MiB" <<<"$("$HT" ps)"'
        until_so '"$HT" dump $holder >"$W/dump" 2>/dev/null && grep -q "^# since: credentials changed" $(cat "$W/dump")'
        expect '[ "$(stat -c %u $(cat "$W/dump"))" = 65534 ]'
        # What it held as root: a dump by root, as its claim says.
        "$HT" recover; expect '[ $? = 0 ] && grep -q "^# reason: credentials" "$W"/dumps/jeprof.$holder.*.f.heap'
        expect '[ -z "$(ls /dev/shm/heaptap-0)" ]'
        killed
        # A little: nothing is left behind, and it lives on as the other user.
        holder 0 "$W/others" 1000000 65534
        until_so 'ls /dev/shm/heaptap-65534/$holder.*.region 2>/dev/null >&2'
        expect '[ -z "$(ls /dev/shm/heaptap-0)" ]'
        killed
        # By raw system calls: the region is gone at once, and what runs beside has no other rights.
        holder 0 "$W/others" 1000000 65534 raw
        until_so 'ls /dev/shm/heaptap-65534/$holder.*.region 2>/dev/null >&2'
        until_so '[ "$(head -2 "$W/said" | tr "\n" " ")" = "before: 1 after: 0 " ]'
        until_so '"$HT" dump $holder >"$W/dump" 2>/dev/null'
        expect '[ "$(stat -c %u $(cat "$W/dump"))" = 65534 ]'
        expect '! grep "^Uid:" /proc/$holder/task/*/status | grep -v "65534.65534.65534.65534"'
        killed"#,
    );
}

#[test]
fn a_process_adopts_for_its_own_user_and_into_its_own_folder_only() {
    let Some(stage) = Stage::new("adopt") else { return };
    for (folder, user) in [("one", 0), ("two", 0), ("nobodys", 65534)] {
        stage.dumps(folder, user, "777");
    }
    stage.run(
        r#"
        # Another folder: the region stays where it is, with or without a pulse, until its own folder's next process.
        holder 0 "$W/one" 1000000; noted; killed; dead=$holder
        holder 0 "$W/two" 1000000; looked; second=$holder
        expect '[ -f /dev/shm/heaptap-0/$dead.*.region ] && ! ls "$W"/*/jeprof.$dead.*.f.heap 2>/dev/null'
        holder 0 "$W/one" 1000000; adopted '[ -f "$W"/one/jeprof.$dead.0.f.heap ] && ! ls /dev/shm/heaptap-0/$dead.* 2>/dev/null'
        # Another user's region: not even by root, and not in a folder of both.
        holder 65534 "$W/nobodys" 1000000; until_so '[ -f "$W"/nobodys/jeprof.$holder.*.live ]'; killed; other=$holder
        holder 0 "$W/nobodys" 1000000; looked
        expect '[ -f /dev/shm/heaptap-65534/$other.*.region ] && ! ls "$W"/nobodys/jeprof.$other.*.f.heap 2>/dev/null'
        # Another user's mirror, whose region is gone.
        rm -r /dev/shm/heaptap-65534 /dev/shm/heaptap-0
        holder 0 "$W/nobodys" 1000000; looked
        expect '! ls "$W"/nobodys/jeprof.$other.*.f.heap 2>/dev/null'
        holder 65534 "$W/nobodys" 1000000; adopted '[ "$(stat -c %u "$W"/nobodys/jeprof.$other.*.f.heap)" = 65534 ]'"#,
    );
}

#[test]
fn a_directory_that_somebody_else_made_is_not_used() {
    let Some(stage) = Stage::new("names") else { return };
    stage.dumps("dumps", 65533, "700");
    stage.run(
        r#"
        for name in heaptap-65533 heaptap-65533.1 heaptap-65533.2; do as 65534 mkdir -m 777 /dev/shm/$name; done
        mkdir -m 777 /dev/shm/open; as 65534 ln -s open /dev/shm/heaptap-65533.3
        holder 65533 "$W/dumps" 1000000; noted
        until_so 'grep -q "taken its names in /dev/shm" "$W/told"'
        expect '[ -z "$(find /dev/shm -type f)" ] && ! grep -q "\.region" /proc/$holder/maps'
        killed
        # One that is left is used.
        rmdir /dev/shm/heaptap-65533.2
        holder 65533 "$W/dumps" 1000000; noted; killed
        expect '[ -f /dev/shm/heaptap-65533.2/$holder.*.claim ]'"#,
    );
}

#[test]
fn a_planted_region_is_not_taken_for_another_users_process() {
    let Some(stage) = Stage::new("planted") else { return };
    stage.dumps("dumps", 65533, "700");
    stage.dumps("evil", 65534, "700");
    stage.run(
        r#"
        holder 65533 "$W/dumps" 1000000; noted; killed; victim=$holder
        holder 65534 "$W/evil" 5000000; noted; killed
        # A copy with the victim's pid, in name, claim and region.
        cd /dev/shm/heaptap-65534; own=$(ls *.region); planted=$victim.${own#*.}
        cp $own $planted; printf "$(printf '\\x%02x\\x%02x\\x%02x' $((victim & 255)) $((victim >> 8 & 255)) $((victim >> 16)))" |
            dd of=$planted bs=1 seek=24 conv=notrunc 2>/dev/null
        sed "s/^pid: .*/pid: $victim/" ${own%.region}.claim >${planted%.region}.claim
        chown 65534 $planted ${planted%.region}.claim; chmod 400 $planted ${planted%.region}.claim; cd "$W"
        as 65533 "$HT" info $victim >"$W/seen" 2>&1; expect '[ $? = 0 ]'; expect '! grep -q heaptap-65534 "$W/seen"'
        expect '! as 65533 "$HT" ps | grep -Eq "65534|nobody"'
        "$HT" info $victim >"$W/seen" 2>&1; expect '[ $? = 2 ] && grep -q "of several users" "$W/seen"'
        "$HT" recover $victim 2>/dev/null; expect '[ $? = 2 ]'
        as 65533 "$HT" recover $victim; expect '[ $? = 0 ] && [ -f "$W"/dumps/jeprof.$victim.0.f.heap ]'
        # A claim that others could have written is none; a region without one is read, and not acted upon.
        chmod 444 /dev/shm/heaptap-65534/${planted%.region}.claim
        "$HT" recover $victim 2>"$W/seen"; expect '[ $? = 2 ] && grep -q "nothing tells what may be done" "$W/seen"'"#,
    );
}

#[test]
fn whoever_empties_the_control_file_takes_a_request_away_and_not_the_process() {
    let Some(stage) = Stage::new("control") else { return };
    stage.dumps("dumps", 65534, "700");
    stage.run(
        r#"
        holder 65534 "$W/dumps" 1000000; noted
        as 65534 truncate -s 0 /dev/shm/heaptap-65534/*.control
        until_so '"$HT" dump $holder >/dev/null 2>&1'
        expect 'kill -0 $holder'
        # Another user's control file is none: the dump is written from outside, as its user.
        chown 65533 /dev/shm/heaptap-65534/*.control
        "$HT" dump $holder 2>"$W/seen"; expect '[ $? = 0 ] && grep -q "does not belong to user 65534.*written from its region" "$W/seen"'
        killed"#,
    );
}
