//! The switch's rules, as scripts for `nft`. A port of the bridge is called as the host behind it.
//!
//! Ports are compared, not addresses: so address resolution and whatever else a host sends are cut as well.

use std::fmt::Write;

use crate::state::host_name;

/// The table in the bridge family that holds everything.
pub(crate) const TABLE: &str = "lab";

/// The whole table without any fault, in place of what there was.
pub(crate) fn table(hosts: usize) -> String {
    let mut text = format!(
        "table bridge {TABLE}\ndelete table bridge {TABLE}\ntable bridge {TABLE} {{\n\
         \x20 set cut {{ type ifname . ifname; }}\n\
         \x20 set isolated {{ type ifname; }}\n\
         \x20 chain forward {{\n    type filter hook forward priority 0;\n    iifname . oifname @cut drop\n    \
         iifname @isolated drop\n    oifname @isolated drop\n  }}\n\
         \x20 chain input {{ type filter hook input priority 0; iifname @isolated drop; }}\n\
         \x20 chain output {{ type filter hook output priority 0; oifname @isolated drop; }}\n"
    );
    for number in 1..=hosts {
        let host = host_name(number);
        let _ = writeln!(text, "  chain from_{host} {{ type filter hook prerouting priority 0; }}");
        let _ = writeln!(text, "  chain to_{host} {{ type filter hook postrouting priority 0; }}");
    }
    text + "}\n"
}

/// Drops what goes from one port to another.
pub(crate) fn cut(from: &str, to: &str) -> String {
    format!("add element bridge {TABLE} cut {{ \"{from}\" . \"{to}\" }}\n")
}

/// Undoes [`cut`], whether it was done or not: `nft` refuses to delete what is not there.
pub(crate) fn mend(from: &str, to: &str) -> String {
    cut(from, to) + &format!("delete element bridge {TABLE} cut {{ \"{from}\" . \"{to}\" }}\n")
}

/// Drops everything from and to a port.
pub(crate) fn isolate(host: &str) -> String {
    format!("add element bridge {TABLE} isolated {{ \"{host}\" }}\n")
}

/// Drops at random, in place of an earlier loss of the same host.
pub(crate) fn loss(host: &str, percent: u8) -> String {
    let mut text = format!("flush chain bridge {TABLE} from_{host}\nflush chain bridge {TABLE} to_{host}\n");
    if percent > 0 {
        let random = format!("numgen random mod 100 < {percent} drop");
        let _ = writeln!(text, "add rule bridge {TABLE} from_{host} iifname \"{host}\" {random}");
        let _ = writeln!(text, "add rule bridge {TABLE} to_{host} oifname \"{host}\" {random}");
    }
    text
}

#[cfg(test)]
mod tests;
