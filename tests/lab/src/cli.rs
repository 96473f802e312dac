//! The command line.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, Subcommand};
use jaco_lab::{Capabilities, DataDisk, Host, JacodOptions, Lab, LabOptions, agent};

/// Several hosts on this machine, each with its own network, engine and jacod
#[derive(Debug, Parser)]
#[command(name = "jaco-lab")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Boot a lab with a jacod on each host; it stays until `down`
    Up {
        /// Number of hosts
        #[arg(default_value_t = 3)]
        hosts: usize,
        /// No Docker engines
        #[arg(long)]
        no_docker: bool,
        /// No jacod
        #[arg(long)]
        no_jacod: bool,
        /// Put /var/lib/jaco on an ext4 of so many MiB
        #[arg(long, value_name = "MIB")]
        data_disk: Option<u32>,
    },
    /// Run a command in a host, or in the network of the `switch`
    Exec {
        /// host1, host2, … or switch
        host: String,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Kill a whole host at once; its disks stay
    Kill {
        /// The host
        host: String,
    },
    /// Boot a host that was killed, with its jacod
    Boot {
        /// The host
        host: String,
    },
    /// Stop every process of a host without killing it
    Freeze {
        /// The host
        host: String,
    },
    /// Undo freeze
    Thaw {
        /// The host
        host: String,
    },
    /// Cut the link between two hosts
    Cut {
        /// A host
        from: String,
        /// Another
        to: String,
        /// Only what the first sends to the second
        #[arg(long)]
        one_way: bool,
    },
    /// Cut a host off from everybody
    Isolate {
        /// The host
        host: String,
    },
    /// Lose frames of a host at random, in each direction
    Loss {
        /// The host
        host: String,
        /// So many of a hundred; 0 ends it
        percent: u8,
    },
    /// Hold frames of a host back, in each direction
    Delay {
        /// The host
        host: String,
        /// Milliseconds; 0 ends it
        milliseconds: u64,
    },
    /// Undo every fault of the network
    Heal,
    /// What is up
    Status,
    /// What this machine can do for a lab, and what it cannot
    Capabilities,
    /// End the lab and remove everything
    Down,
    #[command(hide = true)]
    Keep { request: String },
    #[command(hide = true)]
    Launch { folder: PathBuf },
    #[command(hide = true)]
    Init { folder: PathBuf },
    #[command(hide = true)]
    Enter {
        folder: PathBuf,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// Does what was asked; gives the exit code.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    match arguments.command {
        Task::Up { hosts, no_docker, no_jacod, data_disk } => {
            let data_disk = data_disk.map_or(DataDisk::Folder, |mib| DataDisk::Ext4 { mib });
            up(&LabOptions { hosts, docker: !no_docker, data_disk, ..LabOptions::default() }, !no_jacod)?;
        }
        Task::Exec { host, command } if host == "switch" => return agent::enter_switch(&command),
        Task::Exec { host, command } => {
            let folder = lab()?.host_named(&host)?.folder().to_owned();
            return agent::enter(&folder, false, &command);
        }
        Task::Kill { host } => lab()?.host_named(&host)?.kill()?,
        Task::Boot { host } => boot(lab()?.host_named(&host)?)?,
        Task::Freeze { host } => lab()?.host_named(&host)?.freeze()?,
        Task::Thaw { host } => lab()?.host_named(&host)?.thaw()?,
        Task::Cut { from, to, one_way } => {
            let lab = lab()?;
            let (from, to) = (lab.host_named(&from)?, lab.host_named(&to)?);
            if one_way { lab.network().cut_one_way(from, to)? } else { lab.network().cut(from, to)? }
        }
        Task::Isolate { host } => {
            let lab = lab()?;
            lab.network().isolate(lab.host_named(&host)?)?;
        }
        Task::Loss { host, percent } => {
            let lab = lab()?;
            lab.network().loss(lab.host_named(&host)?, percent)?;
        }
        Task::Delay { host, milliseconds } => {
            let lab = lab()?;
            lab.network().delay(lab.host_named(&host)?, Duration::from_millis(milliseconds))?;
        }
        Task::Heal => lab()?.network().heal()?,
        Task::Status => status()?,
        Task::Capabilities => say(&Capabilities::detect().to_string())?,
        Task::Down => down()?,
        Task::Keep { request } => agent::keep(&request)?,
        Task::Launch { folder } => agent::launch(&folder)?,
        Task::Init { folder } => agent::init(&folder)?,
        Task::Enter { folder, command } => return agent::enter(&folder, true, &command),
    }
    Ok(0)
}

fn lab() -> anyhow::Result<Lab> {
    Lab::attach()?.context("no lab is up: start one with `jaco-lab up`")
}

fn up(options: &LabOptions, with_jacod: bool) -> anyhow::Result<()> {
    let begin = Instant::now();
    let lab = Lab::start(options.clone())?;
    if options.docker {
        lab.each(|host| host.wait_for_docker(Duration::from_secs(60)))?;
        say(&format!("engines after {:.1} s\n", begin.elapsed().as_secs_f64()))?;
        if std::path::Path::new("/bin/busybox").exists() {
            lab.build_web_image()?;
            say(&format!("image {} on every engine: busybox's web server on port 8080\n", jaco_e2e::WEB_IMAGE))?;
        }
    }
    if with_jacod {
        lab.each(|host| host.start_jacod(&JacodOptions::default()).map(|_| ()))?;
        say(&format!("jacod on every host after {:.1} s\n", begin.elapsed().as_secs_f64()))?;
    }
    let program = std::env::current_exe()?.display().to_string();
    say(&format!(
        "\nWhat to try next (as root):\n  {program} exec host1 bash                      # a shell in a host; jaco and docker speak to its daemons\n  \
         {program} exec host1 jaco cluster init --no-systemd-enable\n  {program} kill host2; {program} boot host2\n  \
         {program} cut host1 host3; {program} heal\n  {program} down\n"
    ))?;
    status_of(&lab)?;
    lab.detach()
}

fn boot(host: &Host) -> anyhow::Result<()> {
    host.boot()?;
    // Only where one ran before: `up --no-jacod` is a lab without.
    if host.log_folder().join("jacod.log").exists() {
        host.start_jacod(&JacodOptions::default())?;
    }
    Ok(())
}

fn status() -> anyhow::Result<()> {
    match Lab::attach()? {
        Some(lab) => status_of(&lab),
        None => say("no lab is up\n"),
    }
}

fn status_of(lab: &Lab) -> anyhow::Result<()> {
    let (keeper, owner) = lab.processes();
    let mut text = format!("lab in {}, kept by process {keeper}, started by process {owner}\n", lab.folder().display());
    for host in lab.hosts() {
        let state = match (host.is_running(), host.jacod().pid()) {
            (false, _) => "off".to_owned(),
            (true, Ok(pid)) => format!("running, jacod is process {pid}"),
            (true, Err(_)) => "running, no jacod".to_owned(),
        };
        text += &format!("{:<8} {:<14} {state}\n", host.name(), host.address().to_string());
    }
    say(&text)
}

fn down() -> anyhow::Result<()> {
    match Lab::attach()? {
        Some(lab) => lab.down(),
        None => Lab::sweep(),
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush().context("standard output")
}
