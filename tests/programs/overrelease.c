/* An extension with the fault of uwsgi.spool() up to 2.0.17.1: it releases items of a list that it has only
   borrowed, with the interpreter lock let go of in between, so that another thread can take what was freed. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <unistd.h>

static PyObject *spool(PyObject *self, PyObject *args)
{
    PyObject *vars, *items;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(args, "O!", &PyDict_Type, &vars))
        return NULL;
    items = PyDict_Items(vars);
    if (!items)
        return NULL;
    for (n = 0; n < PyList_Size(items); n++)
        Py_DECREF(PyList_GetItem(items, n)); /* borrowed: the fault */
    Py_BEGIN_ALLOW_THREADS
    usleep(200); /* writes the job to its file */
    Py_END_ALLOW_THREADS
    Py_DECREF(items);
    Py_RETURN_NONE;
}

/* The same with any object: it releases what it was only lent. */
static PyObject *drop(PyObject *self, PyObject *one)
{
    Py_DECREF(one);
    Py_BEGIN_ALLOW_THREADS
    usleep(100);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* Returns what it was only lent. */
static PyObject *first(PyObject *self, PyObject *list)
{
    return PyList_GetItem(list, 0);
}

static PyMethodDef methods[] = {{"spool", spool, METH_VARARGS, ""}, {"drop", drop, METH_O, ""},
                                {"first", first, METH_O, ""}, {NULL, NULL, 0, NULL}};

#if PY_MAJOR_VERSION >= 3
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "jobqueue", NULL, -1, methods, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit_jobqueue(void) { return PyModule_Create(&module); }
#else
PyMODINIT_FUNC initjobqueue(void) { Py_InitModule("jobqueue", methods); }
#endif
