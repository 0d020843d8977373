//! nginx.conf: the whole file, for the stock image.

use std::fmt::Write;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::odoo_conf::{EVENTED_PORT, HTTP_PORT};
use crate::name::{Fqdn, Port};
use crate::site::release::Release;

/// Where the directory with nginx.conf is mounted.
pub const CONFIG_MOUNT: &str = "/etc/autoodoo/nginx";
/// Where the directory with one subdirectory a certificate is mounted.
pub const TLS_MOUNT: &str = "/etc/autoodoo/tls";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NginxConf {
    /// Who is served; whoever asks for another name gets no answer.
    pub hosts: Vec<Host>,
    pub release: Release,
    /// The host's port for https, for redirects.
    pub https: Port,
    /// The certificate's directory under [`TLS_MOUNT`].
    pub certificate: String,
}

/// The names of one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    pub names: Vec<Fqdn>,
    /// The address of the Odoo slot that serves it.
    pub odoo: Ipv4Addr,
}

/// The file's text.
#[must_use]
pub fn nginx_conf(conf: &NginxConf) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(text, "{}", head(conf));
    let _ = write!(text, "{}", plain_http(conf));
    let _ = write!(text, "{}", https(conf));
    text.push_str("}\n");
    text
}

fn names(conf: &NginxConf) -> String {
    conf.hosts.iter().flat_map(|host| &host.names).map(Fqdn::as_str).collect::<Vec<_>>().join(" ")
}

fn head(conf: &NginxConf) -> String {
    let address = conf.hosts[0].odoo;
    format!(
        "\
# Written by autoodoo; changes are overwritten.
user nginx;
worker_processes auto;
pid /var/run/nginx.pid;
error_log /var/log/nginx/error.log notice;

events {{
    worker_connections 4096;
}}

http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    log_format main '$remote_addr - $remote_user [$time_local] \"$request\" $status '
                    '$body_bytes_sent \"$http_referer\" \"$http_user_agent\" $request_time';
    access_log /var/log/nginx/access.log main;
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 65s;
    client_max_body_size 100m;
    gzip on;
    gzip_min_length 1000;
    gzip_proxied any;
    gzip_types text/css text/plain text/xml application/xml application/json application/javascript image/svg+xml;

    # Odoo ends a request after 600 s of CPU or 1200 s; nginx waits no longer than 720 s for a byte.
    proxy_connect_timeout 10s;
    proxy_read_timeout 720s;
    proxy_send_timeout 720s;
    proxy_http_version 1.1;
    proxy_buffers 16 64k;
    proxy_buffer_size 128k;

    map $http_upgrade $connection_upgrade {{
        default upgrade;
        ''      '';
    }}
    upstream odoo {{
        server {address}:{HTTP_PORT} max_fails=0;
    }}
    upstream odoo_evented {{
        server {address}:{EVENTED_PORT} max_fails=0;
    }}

"
    )
}

/// Redirects to https; unknown names get no answer.
fn plain_http(conf: &NginxConf) -> String {
    let names = names(conf);
    let port = match conf.https {
        Port::HTTPS => String::new(),
        port => format!(":{port}"),
    };
    format!(
        "    \
    # reuseport: a new nginx can stand beside the old one in the same network namespace.
    server {{
        listen 80 default_server reuseport;
        server_name _;
        return 444;
    }}
    server {{
        listen 80;
        server_name {names};
        return 301 https://$host{port}$request_uri;
    }}

"
    )
}

fn https(conf: &NginxConf) -> String {
    let names = names(conf);
    let directory = format!("{TLS_MOUNT}/{}", conf.certificate);
    let evented = conf.release.evented_path();
    format!(
        "    \
    server {{
        listen 443 ssl default_server reuseport;
        server_name _;
        ssl_reject_handshake on;
    }}
    server {{
        listen 443 ssl;
        server_name {names};
        ssl_certificate {directory}/fullchain.pem;
        ssl_certificate_key {directory}/privkey.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;
        ssl_prefer_server_ciphers off;
        ssl_session_cache shared:tls:10m;
        ssl_session_timeout 30m;
        ssl_session_tickets off;

        # With X-Forwarded-Host present Odoo believes the other three.
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto https;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_redirect off;
        # Odoo never marks its cookie Secure.
        proxy_cookie_flags session_id samesite=lax secure;

        location {evented} {{
            proxy_pass http://odoo_evented;
        }}
        # The database manager can drop the database with one password.
        location ~* ^/web/database(/|$) {{
            return 403;
        }}
        location / {{
            proxy_pass http://odoo;
        }}
    }}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(release: u32, https: &str) -> NginxConf {
        NginxConf {
            hosts: vec![Host {
                names: ["odoo.example.com", "www.example.com"].map(|n| n.parse().unwrap()).to_vec(),
                odoo: Ipv4Addr::new(10, 213, 7, 11),
            }],
            release: Release::new(release).unwrap(),
            https: https.parse().unwrap(),
            certificate: "20260101-abcdef".to_owned(),
        }
    }

    #[test]
    fn whole_file_of_19() {
        insta::assert_snapshot!(nginx_conf(&conf(19, "443")));
    }

    #[test]
    fn longpolling_before_16_and_the_port_in_redirects() {
        let text = nginx_conf(&conf(14, "8443"));
        assert!(text.contains("location /longpolling {"));
        assert!(!text.contains("/websocket"));
        assert!(text.contains("return 301 https://$host:8443$request_uri;"));
    }
}
