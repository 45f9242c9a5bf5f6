"""Recording and alert rules, evaluated in the query process as Prometheus' rule manager does.

load.load          rule files -> rule groups, strict
template.Template  the part of Go's templates that alert texts may use
alerts.Alerts      what is inactive, pending and firing of one alert rule
recorded.Recorded  where recorded samples go, and the storage that answers with them
group.Group        one evaluation of a group's rules
manager.Rules      every group at its time; what the API reads

The query process keeps recorded samples in a sample log of its own, `rules/series/` in the data directory, in the
format of the ingest process's: one writer for each directory, recorded series that go on where they were after a
restart as Prometheus' do, and none of what OTLP would add on the way (promoted labels, arrival times).

Nothing is imported here: the query process listens before it needs any of this.
"""
