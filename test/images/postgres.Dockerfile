FROM backfleet-test/debian
RUN install --directory --owner=postgres --group=postgres /var/lib/postgresql/data \
	&& install --directory --owner=postgres --group=postgres --mode=3777 /var/run/postgresql \
	&& ln -s /usr/lib/postgresql/*/bin /usr/lib/postgresql/bin
ENV PATH=/usr/lib/postgresql/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PGDATA=/var/lib/postgresql/data
CMD ["postgres"]
