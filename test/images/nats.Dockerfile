FROM scratch
COPY nats-server /nats-server
ENV PATH=/
ENTRYPOINT ["/nats-server"]
CMD ["--config", "nats-server.conf"]
