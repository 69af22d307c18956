"""Two copies, or two versions, of one library in a process."""

from diag.rules.known.entry import Known

ENTRIES = (
    Known(
        name="psycopg2-own-openssl",
        cause="a wheel brings its own OpenSSL beside the system's; what one copy makes ends in the other",
        fix="build that package against the system's: pip install --no-binary psycopg2 psycopg2",
        reference="psycopg/psycopg2#543",
        library=r"lib(?:ssl|crypto)-[0-9a-f]{6,}\.so\.1\.0",
    ),
    Known(
        name="xmlsec-lxml",
        cause="xmlsec and lxml each use a libxml2 of their own, whose structures differ",
        fix="pip install --no-binary lxml lxml, or a pair made for each other",
        reference="xmlsec/python-xmlsec#320",
        library=r"libxmlsec1|xmlsec\.|libxml2-[0-9a-f]{6,}",
    ),
    Known(
        name="openblas-twice",
        cause="conda's OpenBLAS (32-bit integers) and a wheel's (64-bit integers) in one process, or a limit "
        "on processes that lets its threads fail to start",
        fix="take all numeric packages from one source; raise the limit (ulimit -u) or set "
        "OPENBLAS_NUM_THREADS=1",
        reference="numpy/numpy#21376",
        library=r"lib(?:scipy_)?openblas",
    ),
    Known(
        name="greenlet-structure",
        cause="an extension was built for another greenlet, whose structure has another size",
        fix="install greenlet and gevent releases that were made for each other",
        reference="gevent/gevent#1675",
        library=r"_?greenlet\.|_g?event|_gevent",
    ),
    Known(
        name="geos-gdal-twice",
        cause="two builds of GEOS, PROJ or GDAL (a wheel's and the system's) in one process",
        fix="pip install --no-binary shapely,fiona,rasterio, or take all from conda-forge",
        reference="shapely/shapely#1208",
        library=r"lib(?:geos|geos_c|proj|gdal)[.-]",
    ),
    Known(
        name="pyodbc-own-odbc",
        cause="a pyodbc wheel brought an unixODBC before 2.3.5, which cuts pointers to 32 bits",
        fix="pip install --no-binary pyodbc pyodbc, or another release than 4.0.34",
        reference="mkleehammer/pyodbc#1081",
        library=r"libodbc-[0-9a-f]{6,}|pyodbc\.",
    ),
    Known(
        name="mod_wsgi-sub-interpreter",
        cause="an extension that cannot live in a sub-interpreter, or Apache and Python with two versions "
        "of one library",
        fix="set WSGIApplicationGroup %{GLOBAL}, and use one version for both",
        reference="GrahamDumpleton/mod_wsgi#296",
        library=r"libpython|mod_wsgi|.*\.cpython-",
        program=r"httpd|apache2|\(wsgi:",
    ),
)
