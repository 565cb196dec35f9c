FROM backfleet-test/debian
COPY go /usr/local/go
COPY roots.pem /etc/ssl/roots.pem
ENV GOPATH=/go SSL_CERT_FILE=/etc/ssl/roots.pem PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /go
