//! Faults of the network, seen by sockets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::eventually;
use jaco_lab::{Capability, Host, can_run};

use crate::Rig;

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(15);

/// A server in one host that sends back what it gets, and a connection to it from another.
fn echo(server: &Host, client: &Host) -> anyhow::Result<TcpStream> {
    let listener = server.inside(|| TcpListener::bind((server.address(), 0)))??;
    let address = listener.local_addr()?;
    let stream = client.inside(|| TcpStream::connect_timeout(&address, LONG))??;
    let (mut accepted, _) = listener.accept()?;
    // Ends with its connection.
    std::thread::spawn(move || {
        let mut byte = [0];
        while accepted.read_exact(&mut byte).and_then(|()| accepted.write_all(&byte)).is_ok() {}
    });
    Ok(stream)
}

/// Waits for one byte.
fn receive(stream: &mut TcpStream, deadline: Duration) -> std::io::Result<u8> {
    let mut byte = [0];
    stream.set_read_timeout(Some(deadline))?;
    stream.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// The connection neither breaks nor carries anything while it is cut, and loses nothing.
pub(crate) fn a_cut_stalls_connections_and_healing_lets_them_go_on(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab()?;
    let mut stream = echo(lab.host(1), lab.host(2))?;
    stream.write_all(&[1])?;
    ensure!(receive(&mut stream, LONG)? == 1);
    for round in [2, 3] {
        if round == 2 {
            lab.network().cut(lab.host(1), lab.host(2))?;
        } else {
            lab.network().partition(&[lab.host(1)], &[lab.host(2)])?;
        }
        stream.write_all(&[round])?;
        let error = receive(&mut stream, SHORT).err().context("a byte came through a cut")?;
        ensure!(error.kind() == std::io::ErrorKind::WouldBlock, "the connection broke: {error}");
        if round == 2 {
            lab.network().heal()?
        } else {
            lab.network().mend(lab.host(2), lab.host(1))?
        }
        ensure!(receive(&mut stream, LONG)? == round);
    }
    Ok(())
}

/// Whether datagrams get from one host to another.
fn datagrams(from: &Host, to: &Host, count: u32) -> anyhow::Result<u32> {
    let server = to.inside(|| UdpSocket::bind((to.address(), 0)))??;
    let address = server.local_addr()?;
    let client = from.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    for _ in 0..count {
        client.send_to(b"x", address)?;
    }
    server.set_read_timeout(Some(SHORT))?;
    let mut received = 0;
    while received < count && server.recv(&mut [0]).is_ok() {
        received += 1;
    }
    Ok(received)
}

/// Only one direction is cut.
pub(crate) fn a_cut_one_way_leaves_the_way_back(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab()?;
    let (a, b) = (lab.host(1), lab.host(2));
    lab.network().cut_one_way(a, b)?;
    ensure!(datagrams(a, b, 3)? == 0, "host1 reaches host2");
    ensure!(datagrams(b, a, 3)? == 3, "host2 does not reach host1");
    lab.network().heal()?;
    ensure!(datagrams(a, b, 3)? == 3, "host1 does not reach host2 after healing");
    Ok(())
}

/// Neither hosts nor the switch are reached, in both directions.
pub(crate) fn an_isolated_host_reaches_nobody(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab()?;
    let server = lab.host(1).inside(|| TcpListener::bind((lab.host(1).address(), 0)))??;
    let address: SocketAddr = server.local_addr()?;
    let connect = || TcpStream::connect_timeout(&address, SHORT).map(|_| ());
    lab.network().inside(connect)?.context("the switch's client reaches the host")?;
    lab.network().isolate(lab.host(1))?;
    ensure!(lab.network().inside(connect)?.is_err(), "the switch's client still reaches the host");
    ensure!(datagrams(lab.host(1), lab.host(2), 3)? == 0 && datagrams(lab.host(2), lab.host(1), 3)? == 0);
    lab.network().heal()?;
    lab.network().inside(connect)?.context("the switch's client reaches the host again")
}

/// Half of the datagrams, give or take much more than chance does (500 trials: ten standard deviations).
pub(crate) fn loss_drops_some_frames_and_not_all(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab()?;
    lab.network().loss(lab.host(1), 10)?;
    lab.network().loss(lab.host(1), 50)?;
    for (from, to) in [(1, 2), (2, 1)] {
        let received = datagrams(lab.host(from), lab.host(to), 500)?;
        ensure!((140..=360).contains(&received), "{received} of 500 with a loss of 50 %");
    }
    lab.network().loss(lab.host(1), 0)?;
    ensure!(datagrams(lab.host(1), lab.host(2), 100)? == 100);
    Ok(())
}

/// A round trip takes twice the delay, where the kernel can; otherwise the fault says that it is not available.
pub(crate) fn delay_holds_frames_back(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab()?;
    let delay = Duration::from_millis(100);
    if !can_run("lab::delay_holds_frames_back", &[Capability::Netem]) {
        let error = lab.network().delay(lab.host(1), delay).err().context("a delay without netem")?;
        ensure!(error.to_string().contains("not available here"), "{error:#}");
        return Ok(());
    }
    let mut stream = echo(lab.host(1), lab.host(2))?;
    lab.network().delay(lab.host(1), delay)?;
    let begin = Instant::now();
    stream.write_all(&[1])?;
    receive(&mut stream, LONG)?;
    ensure!(begin.elapsed() >= delay * 2, "{:?}", begin.elapsed());
    lab.network().heal()?;
    eventually(LONG, "the delay ends", || {
        let begin = Instant::now();
        stream.write_all(&[2]).and_then(|()| receive(&mut stream, LONG)).map_err(|error| error.to_string())?;
        if begin.elapsed() < delay { Ok(()) } else { Err(format!("{:?}", begin.elapsed())) }
    })
}
