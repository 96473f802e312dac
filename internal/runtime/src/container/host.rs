//! The part of a create request that is about the host: mounts, limits, namespaces, privileges.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    DeviceMapping, DeviceRequest, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount as EngineMount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, MountVolumeOptions,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use jaco_types::{ContainerSpec, Logging, Mount, ServiceName, TmpfsMount, VolumeName, volume_name};

use super::{ANNOTATIONS, CreateError, CreateInput, SUBPATH, peer};

/// Rotation of the default log driver, so that a chatty container cannot fill the disk: 3 files of 10 MB.
const DEFAULT_LOG: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "3")];

pub(super) fn config(input: CreateInput<'_>, left_out: &mut Vec<&'static str>) -> Result<HostConfig, CreateError> {
    let spec = &input.service.container;
    let (binds, mounts) = mounts(input, left_out)?;
    let mut host = HostConfig {
        binds: some(binds),
        mounts: some(mounts),
        tmpfs: map(&spec.tmpfs),
        volumes_from: some(volumes_from(input)?),
        annotations: map(&spec.annotations).filter(|_| input.api >= ANNOTATIONS),
        cap_add: some(spec.cap_add.clone()),
        cap_drop: some(spec.cap_drop.clone()),
        dns: some(spec.dns.clone()),
        dns_search: some(spec.dns_search.clone()),
        dns_options: some(spec.dns_options.clone()),
        extra_hosts: some(spec.extra_hosts.clone()),
        group_add: some(spec.group_add.clone()),
        init: spec.init,
        ipc_mode: namespace(input, spec.ipc.as_deref())?,
        pid_mode: namespace(input, spec.pid.as_deref())?,
        uts_mode: spec.uts.clone(),
        userns_mode: spec.userns_mode.clone(),
        cgroupns_mode: spec.cgroup.as_deref().map(cgroup_namespace).transpose()?,
        cgroup_parent: spec.cgroup_parent.clone(),
        privileged: Some(spec.privileged),
        security_opt: some(spec.security_opt.clone()),
        readonly_rootfs: Some(spec.read_only),
        runtime: spec.runtime.clone(),
        shm_size: spec.shm_size.map(signed),
        sysctls: map(&spec.sysctls),
        log_config: Some(log(spec.logging.as_ref())),
        // Restarting is ours alone: an engine that restarts by itself would start what the cluster has given to another node.
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: Some(0) }),
        ..Default::default()
    };
    devices(spec, &mut host);
    resources(spec, &mut host);
    Ok(host)
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn map(map: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.clone().into_iter().collect())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn namespace(input: CreateInput<'_>, mode: Option<&str>) -> Result<Option<String>, CreateError> {
    let Some(mode) = mode else { return Ok(None) };
    let Some(name) = mode.strip_prefix("service:") else { return Ok(Some(mode.to_owned())) };
    let service =
        ServiceName::new(name).map_err(|_| CreateError::UnknownWord { field: "ipc or pid", value: mode.to_owned() })?;
    peer(input, &service).map(|id| Some(format!("container:{id}")))
}

fn cgroup_namespace(mode: &str) -> Result<HostConfigCgroupnsModeEnum, CreateError> {
    match mode {
        "host" => Ok(HostConfigCgroupnsModeEnum::HOST),
        "private" => Ok(HostConfigCgroupnsModeEnum::PRIVATE),
        other => Err(CreateError::UnknownWord { field: "cgroup", value: other.to_owned() }),
    }
}

fn log(logging: Option<&Logging>) -> HostConfigLogConfig {
    match logging {
        Some(logging) => HostConfigLogConfig {
            // The engine's own default driver is asked for by an empty type.
            typ: Some(logging.driver.clone().unwrap_or_default()),
            config: Some(logging.options.clone().into_iter().collect()),
        },
        None => HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(DEFAULT_LOG.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()),
        },
    }
}

fn volumes_from(input: CreateInput<'_>) -> Result<Vec<String>, CreateError> {
    let spec = &input.service.container;
    spec.volumes_from
        .iter()
        .map(|from| {
            let access = if from.read_only { "ro" } else { "rw" };
            peer(input, &from.service).map(|id| format!("{id}:{access}"))
        })
        .collect()
}

fn devices(spec: &ContainerSpec, host: &mut HostConfig) {
    host.devices = some(
        spec.devices
            .iter()
            .map(|device| DeviceMapping {
                path_on_host: Some(device.host.clone()),
                path_in_container: Some(device.container.clone()),
                cgroup_permissions: Some(device.permissions.clone()),
            })
            .collect(),
    );
    host.device_cgroup_rules = some(spec.device_cgroup_rules.clone());
    host.device_requests = some(
        spec.device_requests
            .iter()
            .map(|request| DeviceRequest {
                driver: Some(request.driver.clone()),
                count: Some(request.count),
                device_ids: some(request.device_ids.clone()),
                capabilities: Some(request.capabilities.clone()),
                options: map(&request.options),
            })
            .collect(),
    );
    host.ulimits = some(
        spec.ulimits
            .iter()
            .map(|(name, limit)| ResourcesUlimits {
                name: Some(name.clone()),
                soft: Some(limit.soft),
                hard: Some(limit.hard),
            })
            .collect(),
    );
}

fn resources(spec: &ContainerSpec, host: &mut HostConfig) {
    let limits = &spec.resources;
    host.nano_cpus = limits.nano_cpus.map(signed);
    host.memory = limits.memory.map(signed);
    host.memory_reservation = limits.memory_reservation.map(signed);
    host.memory_swap = limits.memory_swap;
    host.memory_swappiness = limits.memory_swappiness.map(signed);
    host.pids_limit = limits.pids;
    host.cpu_shares = limits.cpu_shares.map(signed);
    host.cpuset_cpus = limits.cpuset.clone();
    host.cpu_period = limits.cpu_period.map(signed);
    host.cpu_quota = limits.cpu_quota;
    host.oom_score_adj = limits.oom_score_adj;
}

/// Binds whose source is to be created go by the engine's older text form: only that one creates directories on every version.
fn mounts(
    input: CreateInput<'_>,
    left_out: &mut Vec<&'static str>,
) -> Result<(Vec<String>, Vec<EngineMount>), CreateError> {
    let (mut binds, mut mounts) = (Vec::new(), Vec::new());
    for mount in &input.service.container.mounts {
        match mount {
            Mount::Volume { source, target, read_only, nocopy, subpath } => {
                if subpath.is_some() && input.api < SUBPATH {
                    // Leaving it out would show the container the whole volume: worse than not starting it.
                    left_out.push("volumes.subpath");
                    return Err(CreateError::EngineTooOld {
                        field: "volumes.subpath",
                        needed: SUBPATH,
                        found: input.api,
                    });
                }
                mounts.push(EngineMount {
                    typ: Some(MountType::VOLUME),
                    source: Some(engine_volume(input, source)),
                    target: Some(target.clone()),
                    read_only: Some(*read_only),
                    volume_options: (*nocopy || subpath.is_some()).then(|| MountVolumeOptions {
                        no_copy: Some(*nocopy),
                        subpath: subpath.clone(),
                        ..Default::default()
                    }),
                    ..Default::default()
                });
            }
            Mount::Bind { source, target, read_only, create_host_path: true, propagation } => {
                let mut options = vec![if *read_only { "ro" } else { "rw" }];
                options.extend(propagation.as_deref());
                binds.push(format!("{source}:{target}:{}", options.join(",")));
            }
            Mount::Bind { source, target, read_only, create_host_path: false, propagation } => {
                let propagation = propagation.as_deref().map(propagation_word).transpose()?;
                mounts.push(EngineMount {
                    typ: Some(MountType::BIND),
                    source: Some(source.clone()),
                    target: Some(target.clone()),
                    read_only: Some(*read_only),
                    bind_options: propagation
                        .map(|propagation| MountBindOptions { propagation: Some(propagation), ..Default::default() }),
                    ..Default::default()
                });
            }
            Mount::Anonymous { target, read_only } => mounts.push(EngineMount {
                typ: Some(MountType::VOLUME),
                target: Some(target.clone()),
                read_only: Some(*read_only),
                ..Default::default()
            }),
            Mount::Tmpfs(tmpfs) => mounts.push(tmpfs_mount(tmpfs)),
        }
    }
    Ok((binds, mounts))
}

fn tmpfs_mount(tmpfs: &TmpfsMount) -> EngineMount {
    EngineMount {
        typ: Some(MountType::TMPFS),
        target: Some(tmpfs.target.clone()),
        read_only: Some(tmpfs.read_only),
        tmpfs_options: (tmpfs.size.is_some() || tmpfs.mode.is_some()).then(|| MountTmpfsOptions {
            size_bytes: tmpfs.size.map(signed),
            mode: tmpfs.mode.map(i64::from),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn engine_volume(input: CreateInput<'_>, key: &VolumeName) -> String {
    let spec = input.deployment.volumes.get(key).cloned().unwrap_or_default();
    volume_name(&input.desired.deployment, key, &spec)
}

fn propagation_word(word: &str) -> Result<MountBindOptionsPropagationEnum, CreateError> {
    match word {
        "private" => Ok(MountBindOptionsPropagationEnum::PRIVATE),
        "rprivate" => Ok(MountBindOptionsPropagationEnum::RPRIVATE),
        "shared" => Ok(MountBindOptionsPropagationEnum::SHARED),
        "rshared" => Ok(MountBindOptionsPropagationEnum::RSHARED),
        "slave" => Ok(MountBindOptionsPropagationEnum::SLAVE),
        "rslave" => Ok(MountBindOptionsPropagationEnum::RSLAVE),
        other => Err(CreateError::UnknownWord { field: "bind propagation", value: other.to_owned() }),
    }
}
