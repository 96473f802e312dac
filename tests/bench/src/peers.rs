//! The ingress's peers, as a careful operator would set them up for this: two workers, access log off, kept connections to the
//! upstream, and the same three forwarding headers that our ingress sets.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::process::Process;

/// nginx in front of an upstream.
pub(crate) fn nginx(folder: &Path, listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<Process> {
    let path = |name: &str| folder.join(name).display().to_string();
    let configuration = format!(
        "user root;\ndaemon off;\nworker_processes 2;\nerror_log {error} warn;\npid {pid};\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  keepalive_timeout 1h;\n\
         client_body_temp_path {body};\n  proxy_temp_path {proxy};\n  fastcgi_temp_path {other};\n\
         uwsgi_temp_path {other};\n  scgi_temp_path {other};\n\
         upstream up {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; keepalive_timeout 1h; }}\n\
         server {{\n  listen {listen} reuseport;\n  location / {{\n    proxy_pass http://up;\n    proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\";\n    proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $remote_addr;\n    proxy_set_header X-Forwarded-Proto $scheme;\n\
         proxy_set_header X-Forwarded-Host $http_host;\n  }}\n  }}\n}}\n",
        error = path("nginx-error.log"),
        pid = path("nginx.pid"),
        body = path("nginx-body"),
        proxy = path("nginx-proxy"),
        other = path("nginx-other"),
    );
    std::fs::write(folder.join("nginx.conf"), configuration)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    Process::start(command, &folder.join("nginx.log"))
}

/// haproxy in front of an upstream.
pub(crate) fn haproxy(folder: &Path, listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<Process> {
    let configuration = format!(
        "global\n  nbthread 2\n  maxconn 8192\n\
         defaults\n  mode http\n  timeout connect 3s\n  timeout client 1h\n  timeout server 1h\n  option http-keep-alive\n\
         http-reuse always\n\
         frontend front\n  bind {listen}\n  http-request set-header X-Forwarded-For %[src]\n\
         http-request set-header X-Forwarded-Proto http\n  http-request set-header X-Forwarded-Host %[req.hdr(host)]\n\
         default_backend back\n\
         backend back\n  server upstream {upstream}\n"
    );
    std::fs::write(folder.join("haproxy.cfg"), configuration)?;
    let mut command = Command::new("haproxy");
    command.args(["-db", "-q", "-f"]).arg(folder.join("haproxy.cfg"));
    Process::start(command, &folder.join("haproxy.log"))
}
