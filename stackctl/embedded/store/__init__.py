"""Spans on disk: a log of framed Arrow that is synced before an acknowledgement, sealed into Parquet segments.

Files below `spans/`:

    format                                  the version of all of this
    committed                               sequence number of the newest acknowledged frame, for readers
    log/<first>.log                         frames in order; one file becomes one segment
    spans-<first>-<last>-<newest>.parquet   the spans of frames first..last; newest arrival in unix ms
    evals-<first>-<last>-<newest>.parquet   the evaluations of the same frames
    digests-<first>-<last>-<newest>.bin     what requests those frames came from

`<first>` and `<last>` are frame sequence numbers. Readers ignore frames that a segment covers: the swap is a rename.
"""
